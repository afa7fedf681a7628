import {
  VFIO_IOMMU_GET_INFO,
  expect,
  ioctl,
  vfio_iommu_type1_info,
  type Container,
} from '../../harness/testing/index.ts';

/** The structure without capabilities. */
export const INFO_SIZE = vfio_iommu_type1_info.size;

/** Content of memory before the kernel writes there. */
export const UNTOUCHED = 0xa5;

/** Bytes that GET_INFO asks for. */
export function wanted(container: Container): number {
  return vfio_iommu_type1_info.decode(container.tryGetInfo(INFO_SIZE).get()).argsz;
}

/** GET_INFO into `argsz` bytes with known content, more of it behind them. */
export function filled(container: Container, argsz: number): Buffer {
  const buffer = Buffer.alloc(4096, UNTOUCHED);
  buffer.writeUInt32LE(argsz, 0);
  expect(ioctl(container.fd, VFIO_IOMMU_GET_INFO, buffer)).toSucceed(0);
  return buffer;
}

/** Whether the bytes are as they were before {@link filled}. */
export function isUntouched(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === UNTOUCHED);
}
