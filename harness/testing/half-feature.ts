import { VFIO_DEVICE_FEATURE, vfio_device_feature } from '../abi/vfio.ts';
import type { Answer } from '../kernel/answer.ts';
import { sys } from '../shim/index.ts';
import type { Device } from '../vfio/device.ts';
import { ioctl } from '../vfio/ioctl.ts';
import type { TestContext } from './context.ts';

const PAGE = 4096;

/** VFIO_DEVICE_FEATURE with data that end in memory that is not mapped: only the first `readable` bytes are there. */
export function tryHalfFeature(
  { memory }: Pick<TestContext, 'memory'>,
  device: Device,
  flags: number,
  data: Buffer,
  readable: number,
): Answer {
  const pages = memory({ size: 2 * PAGE, kind: '4k' });
  sys.munmap(pages.address + BigInt(PAGE), PAGE);
  const argsz = vfio_device_feature.size + data.length;
  const header = vfio_device_feature.encode({ argsz, flags });
  const bytes = Buffer.concat([header, data.subarray(0, readable)]);
  pages.write(PAGE - bytes.length, bytes);
  return ioctl(device.fd, VFIO_DEVICE_FEATURE, pages.address + BigInt(PAGE - bytes.length));
}
