import { Program, sys } from '../shim/index.ts';
import { O_CLOEXEC, O_RDWR } from '../abi/libc.ts';
import {
  IOMMU_DESTROY,
  IOMMU_IOAS_ALLOC,
  IOMMU_IOAS_ALLOW_IOVAS,
  IOMMU_IOAS_IOVA_RANGES,
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_MAP_FILE,
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  IOMMU_IOAS_UNMAP,
  IOMMU_VFIO_IOAS,
  iommu_destroy,
  iommu_ioas_alloc,
  iommu_ioas_allow_iovas,
  iommu_ioas_iova_ranges,
  iommu_ioas_map,
  iommu_ioas_map_file,
  iommu_ioas_unmap,
  iommu_iova_range,
  iommu_vfio_ioas,
} from '../abi/iommufd.ts';
import { Answer } from '../kernel/answer.ts';
import type { IovaRange } from './container.ts';
import { answerTo, ioctl } from './ioctl.ts';

const ACCESS = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;

/** An open /dev/iommu (Documentation/userspace-api/iommufd.rst), as far as VFIO users need it. */
export class Iommufd {
  readonly fd: number;
  #open = true;

  constructor(fd: number) {
    this.fd = fd;
  }

  static open(): Iommufd {
    return new Iommufd(
      new Answer('open /dev/iommu', sys.open('/dev/iommu', O_RDWR | O_CLOEXEC), undefined).must(),
    );
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    sys.close(this.fd);
  }

  /** A new I/O address space; its id. */
  allocIoas(): number {
    const buffer = iommu_ioas_alloc.encode({
      size: iommu_ioas_alloc.size,
      flags: 0,
      out_ioas_id: 0,
    });
    ioctl(this.fd, IOMMU_IOAS_ALLOC, buffer).must();
    return iommu_ioas_alloc.decode(buffer).out_ioas_id;
  }

  /** Confines the IOVAs that the kernel chooses itself. */
  tryAllowIovas(ioas: number, ranges: readonly { start: bigint; last: bigint }[]): Answer {
    const program = new Program();
    const list = program.data(Buffer.concat(ranges.map((range) => iommu_iova_range.encode(range))));
    const argument = program.data(
      iommu_ioas_allow_iovas.encode({
        size: iommu_ioas_allow_iovas.size,
        ioas_id: ioas,
        num_iovas: ranges.length,
        __reserved: 0,
        allowed_iovas: 0n,
      }),
    );
    program.store(64, argument.at(iommu_ioas_allow_iovas.offsetof('allowed_iovas')), list);
    const ref = program.syscall('ioctl', this.fd, IOMMU_IOAS_ALLOW_IOVAS.request, argument);
    return answerTo(IOMMU_IOAS_ALLOW_IOVAS, program.run().result(ref));
  }

  /** The ranges of IOVAs for which there is room in the answer; `count` is how many there are in all. */
  tryIovaRanges(ioas: number, room: number): Answer<{ count: number; ranges: IovaRange[] }> {
    const program = new Program();
    const list = program.data(Math.max(room, 1) * iommu_iova_range.size);
    const argument = program.data(
      iommu_ioas_iova_ranges.encode({
        size: iommu_ioas_iova_ranges.size,
        ioas_id: ioas,
        num_iovas: room,
      }),
    );
    program.store(64, argument.at(iommu_ioas_iova_ranges.offsetof('allowed_iovas')), list);
    const ref = program.syscall('ioctl', this.fd, IOMMU_IOAS_IOVA_RANGES.request, argument);
    const result = program.run().result(ref);
    const count = iommu_ioas_iova_ranges.decode(argument.bytes).num_iovas;
    const ranges = Array.from({ length: Math.min(count, room) }, (_, index) => {
      const at = index * iommu_iova_range.size;
      const { start, last } = iommu_iova_range.decode(list.bytes.subarray(at));
      return { start, end: last };
    });
    return answerTo(IOMMU_IOAS_IOVA_RANGES, result).with({ count, ranges });
  }

  /** Maps memory, readable and writable, at an IOVA or where the kernel likes; the value is the IOVA. */
  tryMap(
    ioas: number,
    { iova, vaddr, size }: { iova?: bigint; vaddr: bigint; size: bigint },
  ): Answer<bigint> {
    const buffer = iommu_ioas_map.encode({
      size: iommu_ioas_map.size,
      flags: iova === undefined ? ACCESS : ACCESS | IOMMU_IOAS_MAP_FIXED_IOVA,
      ioas_id: ioas,
      __reserved: 0,
      user_va: vaddr,
      length: size,
      iova: iova ?? 0n,
    });
    const { call, result } = ioctl(this.fd, IOMMU_IOAS_MAP, buffer);
    return new Answer(call, result, iommu_ioas_map.decode(buffer).iova);
  }

  /** Maps a memfd or dma-buf from byte `start` on at a given IOVA, readable and writable. */
  tryMapFile(
    ioas: number,
    { iova, fd, start = 0n, size }: { iova: bigint; fd: number; start?: bigint; size: bigint },
  ): Answer {
    return ioctl(
      this.fd,
      IOMMU_IOAS_MAP_FILE,
      iommu_ioas_map_file.encode({
        size: iommu_ioas_map_file.size,
        flags: ACCESS | IOMMU_IOAS_MAP_FIXED_IOVA,
        ioas_id: ioas,
        fd,
        start,
        length: size,
        iova,
      }),
    );
  }

  /** The value is the number of bytes unmapped. */
  tryUnmap(ioas: number, iova: bigint, length: bigint): Answer<bigint> {
    const buffer = iommu_ioas_unmap.encode({
      size: iommu_ioas_unmap.size,
      ioas_id: ioas,
      iova,
      length,
    });
    const { call, result } = ioctl(this.fd, IOMMU_IOAS_UNMAP, buffer);
    return new Answer(call, result, iommu_ioas_unmap.decode(buffer).length);
  }

  /** IOMMU_VFIO_IOAS: asks for the address space behind the container ioctls, or changes it; the value is its id. */
  tryCompatIoas(op: number, ioas = 0, reserved = 0): Answer<number> {
    const buffer = iommu_vfio_ioas.encode({
      size: iommu_vfio_ioas.size,
      ioas_id: ioas,
      op,
      __reserved: reserved,
    });
    const { call, result } = ioctl(this.fd, IOMMU_VFIO_IOAS, buffer);
    return new Answer(call, result, iommu_vfio_ioas.decode(buffer).ioas_id);
  }

  tryDestroy(id: number): Answer {
    return ioctl(this.fd, IOMMU_DESTROY, iommu_destroy.encode({ size: iommu_destroy.size, id }));
  }
}
