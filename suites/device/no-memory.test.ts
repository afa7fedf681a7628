import {
  ERRNO,
  FAILSLAB,
  VFIO_DEVICE_IOEVENTFD,
  enableDevice,
  expect,
  test,
  tryIoeventfd,
  vfio_device_ioeventfd,
  withEachFailing,
} from '../../harness/testing/index.ts';

const OPTIONS = { needs: [FAILSLAB], timeoutMs: 180_000 };

test(
  'device.no-memory.ioeventfd',
  'an assignment without memory at any point fails whole and can be made again',
  {
    ...OPTIONS,
    covers: [VFIO_DEVICE_IOEVENTFD.fails('ENOMEM')],
    source: 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_ioeventfd()',
    device: 'ivshmem',
  },
  (context) => {
    const { device, eventfd } = context;
    enableDevice(device);
    const region = device.region(2);
    const { fd } = eventfd();
    const base = { width: 4, offset: 0, data: 7n };
    const argument = vfio_device_ioeventfd.encode({
      argsz: vfio_device_ioeventfd.size,
      flags: base.width,
      offset: region.info.offset,
      data: base.data,
      fd,
      reserved: 0,
    });
    const refused = withEachFailing(
      context,
      (program) =>
        program.syscall('ioctl', device.fd, VFIO_DEVICE_IOEVENTFD.request, program.data(argument)),
      (result) => {
        const again = tryIoeventfd(device, region, { ...base, fd: -1 });
        if (result < 0) {
          expect(result).toBe(-ERRNO.ENOMEM);
          expect(again, 'nothing was assigned').toFailWith('ENODEV');
        } else {
          expect(again).toSucceed(0);
        }
      },
    );
    expect(refused).toBeGreaterThan(0);
  },
);
