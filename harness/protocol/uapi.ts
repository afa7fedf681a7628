/** One thing the kernel's headers offer, or a structure or register of config space, that a test can cover; `vfio-conformance coverage` lists them. */
export interface UapiItem {
  /** As tests write it in `covers`: `VFIO_IOMMU_MAP_DMA`, `VFIO_IOMMU_MAP_DMA:flag:…`. */
  key: string;
  /** The ioctl or structure it belongs to; equal to `key` for that itself. */
  ioctl: string;
  /** What the ioctl is made on: `container`, `group`, `device`, `iommufd`, `migration`, `kvm`… */
  fd: string;
}

/** What the worker prints for `--uapi`. */
export interface Uapi {
  /** In the order of the headers. */
  items: UapiItem[];
  /** Names of errnos: `IOCTL:ERRNO` is an item as soon as a test names it. */
  errnos: string[];
}
