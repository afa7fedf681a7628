import {
  Program,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_RESET,
  enableDevice,
  eventually,
  expect,
  runParallel,
  scratchRegisters,
  setResetMethods,
  test,
  tryIoeventfd,
} from '../../../harness/testing/index.ts';

const THREAD = 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_ioeventfd_thread()';
const DATA = 0x0055_aa00;
const ROUNDS = 5;

test(
  'device.ioeventfd.during-reset',
  'a signal while the device is being reset is not lost: its write follows the reset',
  { covers: [VFIO_DEVICE_IOEVENTFD], source: THREAD, device: 'igb', timeoutMs: 120_000 },
  ({ device, pci, eventfd, defer }) => {
    enableDevice(device);
    // A function level reset takes 100 ms at least (PCI Express 5.0, 6.6.2).
    defer(setResetMethods(pci, ['flr']));
    const { offset } = scratchRegisters('igb');
    const region = device.region(0);
    const kick = eventfd();
    const assignment = { width: 4, offset, data: BigInt(DATA), fd: kick.fd };
    expect(tryIoeventfd(device, region, assignment)).toSucceed(0);
    // A round says nothing whose signal came before the reset had begun, or after its end.
    let during = 0;
    let written = 0;
    for (let round = 0; round < ROUNDS && written === 0; round++) {
      const resetting = new Program();
      const reset = resetting.syscall('ioctl', device.fd, VFIO_DEVICE_RESET.request, 0);
      const signalling = new Program();
      signalling.syscall('poll', 0, 0, 40);
      const signal = signalling.syscall(
        'write',
        kick.fd,
        signalling.data(Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])),
        8,
      );
      runParallel([resetting, signalling]);
      expect(resetting.result(reset)).toBe(0);
      expect(signalling.result(signal)).toBe(8);
      const isWritten = eventually(() => region.read32(offset) === DATA, 200);
      if (signalling.times(signal).end < resetting.times(reset).end) {
        during++;
        if (isWritten) written++;
      }
      region.write32(offset, 0);
      kick.take();
    }
    if (during > 0) expect(written).toBeGreaterThan(0);
  },
);
