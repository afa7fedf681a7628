/**
 * `<linux/vfio.h>` as data, every item under its own name. What the header declares in one piece is
 * split by subject; this file is the header.
 */
export { VFIO_API_VERSION, VFIO_BASE, VFIO_TYPE, vfio_info_cap_header } from './vfio-base.ts';
export * from './vfio-cdev.ts';
export * from './vfio-container.ts';
export * from './vfio-device-info.ts';
export * from './vfio-feature.ts';
export * from './vfio-group.ts';
export * from './vfio-iommu-spapr.ts';
export * from './vfio-iommu-type1.ts';
export * from './vfio-irq.ts';
export * from './vfio-migration.ts';
export * from './vfio-pci.ts';
export * from './vfio-region.ts';
