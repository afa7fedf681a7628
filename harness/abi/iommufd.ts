/** `<linux/iommufd.h>`: objects of an iommufd (/dev/iommu) and its I/O address spaces. */
import { _IO } from './ioc.ts';
import { Ioctl, type IoctlOptions } from './ioctl.ts';
import {
  address,
  argsz,
  fd,
  flags,
  oneOf,
  struct,
  u16,
  u32,
  u64,
  type Names,
  type Struct,
} from './struct.ts';

export const IOMMUFD_TYPE = ';';

export const IOMMUFD_CMD_BASE = 0x80;
export const IOMMUFD_CMD_DESTROY = 0x80;
export const IOMMUFD_CMD_IOAS_ALLOC = 0x81;
export const IOMMUFD_CMD_IOAS_ALLOW_IOVAS = 0x82;
export const IOMMUFD_CMD_IOAS_COPY = 0x83;
export const IOMMUFD_CMD_IOAS_IOVA_RANGES = 0x84;
export const IOMMUFD_CMD_IOAS_MAP = 0x85;
export const IOMMUFD_CMD_IOAS_UNMAP = 0x86;
export const IOMMUFD_CMD_OPTION = 0x87;
export const IOMMUFD_CMD_VFIO_IOAS = 0x88;
export const IOMMUFD_CMD_IOAS_MAP_FILE = 0x8f;
export const IOMMUFD_CMD_IOAS_CHANGE_PROCESS = 0x92;
export const IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA = 0x95;

function iommufdIoctl<
  T,
  const F extends Names = Record<never, number>,
  const V extends Names = Record<never, number>,
>(
  name: string,
  nr: number,
  argument: Struct<T>,
  options?: IoctlOptions<F, V, Record<never, number>>,
) {
  return new Ioctl(name, _IO(IOMMUFD_TYPE, nr), 'iommufd', argument, options);
}

/** `size` is the size of the struct, as `argsz` elsewhere. */
export const iommu_destroy = struct('iommu_destroy', { size: argsz, id: u32 });
export const IOMMU_DESTROY = iommufdIoctl('IOMMU_DESTROY', IOMMUFD_CMD_DESTROY, iommu_destroy);

export const iommu_ioas_alloc = struct('iommu_ioas_alloc', {
  size: argsz,
  flags: u32,
  out_ioas_id: u32,
});
export const IOMMU_IOAS_ALLOC = iommufdIoctl(
  'IOMMU_IOAS_ALLOC',
  IOMMUFD_CMD_IOAS_ALLOC,
  iommu_ioas_alloc,
);

/** Both ends belong to the range. */
export const iommu_iova_range = struct('iommu_iova_range', { start: u64, last: u64 });

/** `allowed_iovas` points to `num_iovas` of struct iommu_iova_range. */
export const iommu_ioas_iova_ranges = struct('iommu_ioas_iova_ranges', {
  size: argsz,
  ioas_id: u32,
  num_iovas: u32,
  __reserved: u32,
  allowed_iovas: address,
  out_iova_alignment: u64,
});
export const IOMMU_IOAS_IOVA_RANGES = iommufdIoctl(
  'IOMMU_IOAS_IOVA_RANGES',
  IOMMUFD_CMD_IOAS_IOVA_RANGES,
  iommu_ioas_iova_ranges,
);

/** `allowed_iovas` points to `num_iovas` of struct iommu_iova_range. */
export const iommu_ioas_allow_iovas = struct('iommu_ioas_allow_iovas', {
  size: argsz,
  ioas_id: u32,
  num_iovas: u32,
  __reserved: u32,
  allowed_iovas: address,
});
export const IOMMU_IOAS_ALLOW_IOVAS = iommufdIoctl(
  'IOMMU_IOAS_ALLOW_IOVAS',
  IOMMUFD_CMD_IOAS_ALLOW_IOVAS,
  iommu_ioas_allow_iovas,
);

export const IOMMU_IOAS_MAP_FIXED_IOVA = 1 << 0;
export const IOMMU_IOAS_MAP_WRITEABLE = 1 << 1;
export const IOMMU_IOAS_MAP_READABLE = 1 << 2;

const MAP_FLAGS = { IOMMU_IOAS_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_WRITEABLE, IOMMU_IOAS_MAP_READABLE };

/** `iova` is chosen by the kernel and returned, unless IOMMU_IOAS_MAP_FIXED_IOVA is set. */
export const iommu_ioas_map = struct('iommu_ioas_map', {
  size: argsz,
  flags: flags(u32, MAP_FLAGS),
  ioas_id: u32,
  __reserved: u32,
  user_va: address,
  length: u64,
  iova: u64,
});
export const IOMMU_IOAS_MAP = iommufdIoctl('IOMMU_IOAS_MAP', IOMMUFD_CMD_IOAS_MAP, iommu_ioas_map, {
  flags: MAP_FLAGS,
});

/** Maps `length` bytes from `start` of a memfd. */
export const iommu_ioas_map_file = struct('iommu_ioas_map_file', {
  size: argsz,
  flags: flags(u32, MAP_FLAGS),
  ioas_id: u32,
  fd,
  start: u64,
  length: u64,
  iova: u64,
});
export const IOMMU_IOAS_MAP_FILE = iommufdIoctl(
  'IOMMU_IOAS_MAP_FILE',
  IOMMUFD_CMD_IOAS_MAP_FILE,
  iommu_ioas_map_file,
  { flags: MAP_FLAGS },
);

export const iommu_ioas_noiommu_get_pa = struct('iommu_ioas_noiommu_get_pa', {
  size: argsz,
  flags: u32,
  ioas_id: u32,
  __reserved: u32,
  iova: u64,
  length: u64,
  out_phys: u64,
});
export const IOMMU_IOAS_NOIOMMU_GET_PA = iommufdIoctl(
  'IOMMU_IOAS_NOIOMMU_GET_PA',
  IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA,
  iommu_ioas_noiommu_get_pa,
);

export const iommu_ioas_copy = struct('iommu_ioas_copy', {
  size: argsz,
  flags: flags(u32, MAP_FLAGS),
  dst_ioas_id: u32,
  src_ioas_id: u32,
  length: u64,
  dst_iova: u64,
  src_iova: u64,
});
export const IOMMU_IOAS_COPY = iommufdIoctl(
  'IOMMU_IOAS_COPY',
  IOMMUFD_CMD_IOAS_COPY,
  iommu_ioas_copy,
  { flags: MAP_FLAGS },
);

/** iova 0 with length 2^64-1 unmaps all; `length` returns the number of bytes unmapped. */
export const iommu_ioas_unmap = struct('iommu_ioas_unmap', {
  size: argsz,
  ioas_id: u32,
  iova: u64,
  length: u64,
});
export const IOMMU_IOAS_UNMAP = iommufdIoctl(
  'IOMMU_IOAS_UNMAP',
  IOMMUFD_CMD_IOAS_UNMAP,
  iommu_ioas_unmap,
);

export const iommu_ioas_change_process = struct('iommu_ioas_change_process', {
  size: argsz,
  __reserved: u32,
});
export const IOMMU_IOAS_CHANGE_PROCESS = iommufdIoctl(
  'IOMMU_IOAS_CHANGE_PROCESS',
  IOMMUFD_CMD_IOAS_CHANGE_PROCESS,
  iommu_ioas_change_process,
);

export const IOMMU_OPTION_RLIMIT_MODE = 0;
export const IOMMU_OPTION_HUGE_PAGES = 1;
export const IOMMU_OPTION_OP_SET = 0;
export const IOMMU_OPTION_OP_GET = 1;

const OPTIONS = { IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_HUGE_PAGES };

export const iommu_option = struct('iommu_option', {
  size: argsz,
  option_id: oneOf(u32, OPTIONS),
  op: oneOf(u16, { IOMMU_OPTION_OP_SET, IOMMU_OPTION_OP_GET }),
  __reserved: u16,
  object_id: u32,
  val64: u64,
});
export const IOMMU_OPTION = iommufdIoctl('IOMMU_OPTION', IOMMUFD_CMD_OPTION, iommu_option, {
  values: OPTIONS,
});

export const IOMMU_VFIO_IOAS_GET = 0;
export const IOMMU_VFIO_IOAS_SET = 1;
export const IOMMU_VFIO_IOAS_CLEAR = 2;

const VFIO_IOAS_OPERATIONS = { IOMMU_VFIO_IOAS_GET, IOMMU_VFIO_IOAS_SET, IOMMU_VFIO_IOAS_CLEAR };

/** The address space behind the container ioctls when an iommufd stands in for a container. */
export const iommu_vfio_ioas = struct('iommu_vfio_ioas', {
  size: argsz,
  ioas_id: u32,
  op: oneOf(u16, VFIO_IOAS_OPERATIONS),
  __reserved: u16,
});
export const IOMMU_VFIO_IOAS = iommufdIoctl(
  'IOMMU_VFIO_IOAS',
  IOMMUFD_CMD_VFIO_IOAS,
  iommu_vfio_ioas,
  { values: VFIO_IOAS_OPERATIONS },
);
