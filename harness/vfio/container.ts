import { sys } from '../shim/index.ts';
import { O_CLOEXEC, O_RDWR } from '../abi/libc.ts';
import {
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_GET_API_VERSION,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
  vfio_iommu_type1_dma_map,
  vfio_iommu_type1_dma_unmap,
  vfio_iommu_type1_info,
} from '../abi/vfio.ts';
import { Answer } from '../kernel/answer.ts';
import { walkCapabilities, type InfoCapability } from './capability-chain.ts';
import { ioctl } from './ioctl.ts';

/** Arguments of VFIO_IOMMU_MAP_DMA; what is left out gets the value of a correct call. */
export interface MapDma {
  iova: bigint;
  vaddr: bigint;
  size: bigint;
  /** Default: READ and WRITE. */
  flags?: number;
  argsz?: number;
}

/** Arguments of VFIO_IOMMU_UNMAP_DMA. */
export interface UnmapDma {
  iova: bigint;
  size: bigint;
  flags?: number;
  argsz?: number;
}

/** What VFIO_IOMMU_GET_INFO tells, decoded. */
export interface IommuInfo {
  argsz: number;
  flags: number;
  iova_pgsizes: bigint;
  cap_offset: number;
  capabilities: InfoCapability[];
  /** The raw bytes, `argsz` of the request long. */
  bytes: Buffer;
}

/** Inclusive bounds of a usable IOVA range. */
export interface IovaRange {
  start: bigint;
  end: bigint;
}

/** An open /dev/vfio/vfio. */
export class Container {
  readonly fd: number;
  #open = true;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** @throws KernelError: ENOENT or ENODEV without the vfio module, EACCES without the right. */
  static open(): Container {
    return new Container(
      new Answer(
        'open /dev/vfio/vfio',
        sys.open('/dev/vfio/vfio', O_RDWR | O_CLOEXEC),
        undefined,
      ).must(),
    );
  }

  /** Closes the fd; nothing happens the second time. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    sys.close(this.fd);
  }

  apiVersion(): number {
    return ioctl(this.fd, VFIO_GET_API_VERSION).must();
  }

  /** 0 or a positive number; never an error (Documentation/driver-api/vfio.rst). */
  checkExtension(extension: number): number {
    return ioctl(this.fd, VFIO_CHECK_EXTENSION, extension).must();
  }

  trySetIommu(type: number): Answer {
    return ioctl(this.fd, VFIO_SET_IOMMU, type);
  }

  setIommu(type: number): void {
    this.trySetIommu(type).must();
  }

  tryMapDma({ iova, vaddr, size, flags, argsz }: MapDma): Answer {
    return ioctl(
      this.fd,
      VFIO_IOMMU_MAP_DMA,
      vfio_iommu_type1_dma_map.encode({
        argsz: argsz ?? vfio_iommu_type1_dma_map.size,
        flags: flags ?? VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        vaddr,
        iova,
        size,
      }),
    );
  }

  mapDma(map: MapDma): void {
    this.tryMapDma(map).must();
  }

  /** The value is `size` as the kernel left it: the bytes it says it unmapped. */
  tryUnmapDma({ iova, size, flags, argsz }: UnmapDma): Answer<bigint> {
    const buffer = vfio_iommu_type1_dma_unmap.encode({
      argsz: argsz ?? vfio_iommu_type1_dma_unmap.size,
      flags: flags ?? 0,
      iova,
      size,
    });
    const { call, result } = ioctl(this.fd, VFIO_IOMMU_UNMAP_DMA, buffer);
    return new Answer(call, result, vfio_iommu_type1_dma_unmap.decode(buffer).size);
  }

  /** Bytes unmapped. */
  unmapDma(unmap: UnmapDma): bigint {
    return this.tryUnmapDma(unmap).get();
  }

  /** One VFIO_IOMMU_GET_INFO with a buffer of exactly `argsz` bytes (at least the fixed part is allocated). */
  tryGetInfo(argsz: number, fill = 0): Answer<Buffer> {
    const buffer = Buffer.alloc(Math.max(argsz, vfio_iommu_type1_info.size), fill);
    vfio_iommu_type1_info.encode({ argsz, flags: 0, iova_pgsizes: 0n, cap_offset: 0 }).copy(buffer);
    const { call, result } = ioctl(this.fd, VFIO_IOMMU_GET_INFO, buffer);
    return new Answer(call, result, buffer);
  }

  /** Asks for the size, then for everything, as the header tells users to. */
  getInfo(): IommuInfo {
    const first = this.tryGetInfo(vfio_iommu_type1_info.size).get();
    const { argsz } = vfio_iommu_type1_info.decode(first);
    const bytes = this.tryGetInfo(argsz).get();
    const info = vfio_iommu_type1_info.decode(bytes);
    const capabilities =
      info.flags & VFIO_IOMMU_INFO_CAPS
        ? walkCapabilities(bytes, info.cap_offset, vfio_iommu_type1_info.size)
        : [];
    return { ...info, capabilities, bytes };
  }

  /** The usable IOVA ranges, in the kernel's order. */
  iovaRanges(): IovaRange[] {
    const capability = this.getInfo().capabilities.find(
      ({ id }) => id === VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
    );
    if (!capability) return [];
    const count = capability.bytes.readUInt32LE(8);
    return Array.from({ length: count }, (_, index) => ({
      start: capability.bytes.readBigUInt64LE(16 + index * 16),
      end: capability.bytes.readBigUInt64LE(24 + index * 16),
    }));
  }

  /** Mappings that may still be made; null if the kernel does not tell (before 5.10). */
  dmaAvail(): number | null {
    const capability = this.getInfo().capabilities.find(
      ({ id }) => id === VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
    );
    return capability ? capability.bytes.readUInt32LE(8) : null;
  }
}
