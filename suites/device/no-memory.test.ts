import {
  ERRNO,
  FAILSLAB,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_GROUP_GET_DEVICE_FD,
  armAllocationFailures,
  enableDevice,
  expect,
  failNthAllocation,
  sys,
  test,
  tryIoeventfd,
  vfio_device_ioeventfd,
} from '../../harness/testing/index.ts';

/** More allocations than any of the calls makes. */
const MOST = 500;
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
  ({ device, eventfd, defer }) => {
    defer(armAllocationFailures());
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
    let refused = 0;
    for (let nth = 1; nth < MOST; nth++) {
      const { result, hasFailed } = failNthAllocation(nth, (program) =>
        program.syscall('ioctl', device.fd, VFIO_DEVICE_IOEVENTFD.request, program.data(argument)),
      );
      const again = tryIoeventfd(device, region, { ...base, fd: -1 });
      if (result < 0) {
        refused++;
        expect(result, `allocation ${nth}`).toBe(-ERRNO.ENOMEM);
        expect(again, 'nothing was assigned').toFailWith('ENODEV');
      } else {
        expect(again).toSucceed(0);
      }
      if (!hasFailed) break;
    }
    expect(refused).toBeGreaterThan(0);
  },
);

test(
  'device.no-memory.open',
  'an open without memory at any point fails, and the next one gives a device that works',
  {
    ...OPTIONS,
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('ENOMEM')],
    source: [
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_enable()',
      'drivers/vfio/pci/vfio_pci_config.c vfio_config_init()',
    ],
    device: 'xhci-msi',
  },
  ({ group, pci, openDevice, defer }) => {
    const first = openDevice(group);
    const wanted = first.config.readAll();
    first.close();
    defer(armAllocationFailures());
    let refused = 0;
    for (let nth = 1; nth < MOST; nth++) {
      const { result, hasFailed } = failNthAllocation(nth, (program) =>
        program.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, program.data(pci.bdf)),
      );
      if (result >= 0) sys.close(result);
      else {
        refused++;
        expect(result, `allocation ${nth}`).toBe(-ERRNO.ENOMEM);
      }
      if (!hasFailed) break;
    }
    expect(refused).toBeGreaterThan(0);
    expect(openDevice(group).config.readAll()).toEqual(wanted);
  },
);
