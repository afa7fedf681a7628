import {
  VFIO_DEVICE_FLAGS_CAPS,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_GET_INFO,
  expect,
  ioctl,
  resetMethods,
  test,
  vfio_device_info,
  type Answer,
  type Device,
} from '../../harness/testing/index.ts';

const SOURCE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_info()';
/** Size of the structure as the first kernels knew it: up to `num_irqs`. */
const FIRST_SIZE = 16;
const POISON = 0xee;

/** GET_INFO with a poisoned buffer longer than `argsz`. */
function ask(device: Device, argsz: number): { answer: Answer; bytes: Buffer } {
  const bytes = Buffer.alloc(256, POISON);
  bytes.writeUInt32LE(argsz, 0);
  return { answer: ioctl(device.fd, VFIO_DEVICE_GET_INFO, bytes), bytes };
}

test(
  'device.info.argsz.short',
  'GET_INFO with a structure shorter than the first kernels knew it is refused and writes nothing',
  { covers: [VFIO_DEVICE_GET_INFO.fails('EINVAL')], source: SOURCE },
  ({ device }) => {
    for (const argsz of [0, 1, 4, 8, FIRST_SIZE - 1]) {
      const { answer, bytes } = ask(device, argsz);
      expect(answer, `argsz ${argsz}`).toFailWith('EINVAL');
      expect(bytes.readUInt32LE(0)).toBe(argsz);
      expect(bytes.subarray(4).every((byte) => byte === POISON)).toBe(true);
    }
  },
);

test(
  'device.info.argsz.first-size',
  'GET_INFO fills the structure of the first kernels and not one byte more',
  { covers: [VFIO_DEVICE_GET_INFO], source: SOURCE },
  ({ device }) => {
    const { answer, bytes } = ask(device, FIRST_SIZE);
    expect(answer).toSucceed(0);
    expect(bytes.readUInt32LE(0)).toBe(FIRST_SIZE);
    expect(bytes.readUInt32LE(8)).toBe(9);
    expect(bytes.readUInt32LE(12)).toBe(5);
    expect(bytes.subarray(FIRST_SIZE).every((byte) => byte === POISON)).toBe(true);
  },
);

test(
  'device.info.argsz.long',
  'GET_INFO keeps argsz, clears cap_offset and writes nothing behind the structure',
  { covers: [VFIO_DEVICE_GET_INFO], source: SOURCE },
  ({ device }) => {
    for (const argsz of [20, vfio_device_info.size, 64, 200, 0xffff_ffff]) {
      const { answer, bytes } = ask(device, argsz);
      expect(answer, `argsz ${argsz}`).toSucceed(0);
      const info = vfio_device_info.decode(bytes);
      expect(info.argsz).toBe(argsz);
      expect(info.flags & VFIO_DEVICE_FLAGS_CAPS).toBe(0);
      expect(info.cap_offset).toBe(0);
      expect(bytes.subarray(vfio_device_info.size).every((byte) => byte === POISON)).toBe(true);
    }
  },
);

test(
  'device.info.flags',
  'GET_INFO says exactly: a PCI device, and whether it can be reset',
  {
    covers: [
      VFIO_DEVICE_GET_INFO.flag('VFIO_DEVICE_FLAGS_PCI'),
      VFIO_DEVICE_GET_INFO.flag('VFIO_DEVICE_FLAGS_RESET'),
    ],
    source: SOURCE,
    devices: [
      'edu',
      'edu-rp',
      'pci-testdev',
      'e1000e',
      'igb',
      'nvme',
      'virtio-net',
      'xhci',
      'vga',
      'mf-a',
    ],
    peer: ['A7', 'L4'],
  },
  ({ device, pci }) => {
    const resettable = resetMethods(pci).length > 0;
    const info = device.info();
    expect(info.flags).toBe(VFIO_DEVICE_FLAGS_PCI | (resettable ? VFIO_DEVICE_FLAGS_RESET : 0));
    expect([info.num_regions, info.num_irqs]).toEqual([9, 5]);
    expect([info.argsz, info.cap_offset]).toEqual([vfio_device_info.size, 0]);
  },
);

test(
  'device.info.after-reset',
  'a reset changes nothing in what GET_INFO and GET_REGION_INFO say',
  { covers: [VFIO_DEVICE_GET_INFO], source: SOURCE, devices: ['igb', 'nvme', 'e1000e'] },
  ({ device }) => {
    const all = () => [
      device.info(),
      ...[0, 1, 2, 3, 4, 5, 6, 7].map((index) => device.regionInfo(index)),
    ];
    const before = all();
    device.reset();
    expect(all()).toEqual(before);
  },
);
