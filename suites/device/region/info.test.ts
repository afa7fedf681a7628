import {
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  PCI_ROM_ADDRESS,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_ROM_REGION_INDEX,
  VFIO_PCI_VGA_REGION_INDEX,
  VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
  expect,
  ioctl,
  memoryEnabled,
  readRom,
  setMemoryEnabled,
  test,
  vfio_region_info,
  type Answer,
  type Device,
} from '../../../harness/testing/index.ts';

const CORE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_region_info()';
const MAIN = 'drivers/vfio/vfio_main.c vfio_get_region_info()';
const READ_WRITE = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
const IORESOURCE_IO = 0x100n;
const IORESOURCE_MEM = 0x200n;
const POISON = 0xee;
/** The structure and one capability header. */
const WITH_CAPABILITY = vfio_region_info.size + 8;
/** Devices that differ in their BARs: memory, 64 bits, I/O, smaller than a page, none. */
const DEVICES = [
  'edu',
  'pci-testdev',
  'ivshmem',
  'e1000e',
  'igb',
  'nvme',
  'virtio-net',
  'xhci',
  'vmxnet3',
  'vga',
  'bridge-child-a',
];

/** GET_REGION_INFO with a poisoned buffer longer than `argsz`. */
function ask(device: Device, index: number, argsz: number): { answer: Answer; bytes: Buffer } {
  const bytes = Buffer.alloc(256, POISON);
  bytes.writeUInt32LE(argsz, 0);
  bytes.writeUInt32LE(index, 8);
  return { answer: ioctl(device.fd, VFIO_DEVICE_GET_REGION_INFO, bytes), bytes };
}

test(
  'device.region-info.argsz.short',
  'GET_REGION_INFO with a structure that is too short is refused and writes nothing',
  { covers: [VFIO_DEVICE_GET_REGION_INFO.fails('EINVAL')], source: MAIN },
  ({ device }) => {
    for (const argsz of [0, 8, 16, vfio_region_info.size - 1]) {
      const { answer, bytes } = ask(device, 0, argsz);
      expect(answer, `argsz ${argsz}`).toFailWith('EINVAL');
      expect(bytes.subarray(12).every((byte) => byte === POISON)).toBe(true);
    }
  },
);

test(
  'device.region-info.argsz.plain',
  'for a region without capabilities any sufficient argsz is kept and nothing is written behind',
  { covers: [VFIO_DEVICE_GET_REGION_INFO], source: MAIN },
  ({ device, pci }) => {
    for (const argsz of [vfio_region_info.size, vfio_region_info.size + 1, 200, 0xffff_ffff]) {
      const { answer, bytes } = ask(device, 0, argsz);
      expect(answer, `argsz ${argsz}`).toSucceed(0);
      const info = vfio_region_info.decode(bytes);
      expect(info).toMatchObject({ argsz, index: 0, size: pci.resources()[0]!.size });
      expect(info.flags & VFIO_REGION_INFO_FLAG_CAPS).toBe(0);
      expect(bytes.subarray(vfio_region_info.size).every((byte) => byte === POISON)).toBe(true);
    }
  },
);

test(
  'device.region-info.argsz.each',
  'what holds of argsz holds of each region: too short is refused, enough is kept, and nothing is written behind',
  {
    covers: [VFIO_DEVICE_GET_REGION_INFO, VFIO_DEVICE_GET_REGION_INFO.fails('EINVAL')],
    source: MAIN,
    devices: ['igb', 'e1000e', 'vga'],
  },
  ({ device, role }) => {
    const { size } = vfio_region_info;
    const indexes = [...Array(role === 'vga' ? 9 : 8).keys()];
    for (const index of indexes) {
      const { answer, bytes } = ask(device, index, size - 1);
      expect(answer, `index ${index}`).toFailWith('EINVAL');
      expect(bytes.subarray(12).every((byte) => byte === POISON)).toBe(true);
      const whole = device.regionInfo(index);
      const wanted = whole.flags & VFIO_REGION_INFO_FLAG_CAPS ? WITH_CAPABILITY : size;
      for (const argsz of [size, WITH_CAPABILITY, 200]) {
        const { answer, bytes } = ask(device, index, argsz);
        expect(answer, `index ${index}, argsz ${argsz}`).toSucceed(0);
        expect(vfio_region_info.decode(bytes)).toMatchObject({
          argsz: Math.max(argsz, wanted),
          index,
          flags: whole.flags,
          size: whole.size,
          offset: BigInt(index) << 40n,
        });
        const written = argsz < wanted ? size : wanted;
        expect(bytes.subarray(written).every((byte) => byte === POISON)).toBe(true);
      }
    }
    for (const argsz of [size - 1, size, 200]) {
      const { answer, bytes } = ask(device, indexes.length, argsz);
      expect(answer, 'no such region').toFailWith('EINVAL');
      expect(bytes.subarray(12).every((byte) => byte === POISON)).toBe(true);
    }
  },
);

for (const [role, bar] of [
  ['igb', 3],
  ['nvme', 0],
  ['virtio-net', 1],
] as const) {
  test(
    `device.region-info.msix-mappable.${role}`,
    'the BAR with the MSI-X table says that it may be mapped, in exactly one capability',
    {
      covers: [
        VFIO_DEVICE_GET_REGION_INFO.flag('VFIO_REGION_INFO_FLAG_CAPS'),
        VFIO_DEVICE_GET_REGION_INFO.capability('VFIO_REGION_INFO_CAP_MSIX_MAPPABLE'),
      ],
      source: [CORE, MAIN],
      device: role,
      peer: ['A8', 'A9'],
    },
    ({ device }) => {
      for (const argsz of [vfio_region_info.size, WITH_CAPABILITY - 1]) {
        const { answer, bytes } = ask(device, bar, argsz);
        expect(answer, `argsz ${argsz}`).toSucceed(0);
        const info = vfio_region_info.decode(bytes);
        expect([info.argsz, info.cap_offset]).toEqual([WITH_CAPABILITY, 0]);
        expect(info.flags).toBe(
          READ_WRITE | VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS,
        );
        expect(bytes.subarray(vfio_region_info.size).every((byte) => byte === POISON)).toBe(true);
      }
      for (const argsz of [WITH_CAPABILITY, WITH_CAPABILITY + 1, 128]) {
        const { answer, bytes } = ask(device, bar, argsz);
        expect(answer, `argsz ${argsz}`).toSucceed(0);
        const info = vfio_region_info.decode(bytes);
        expect([info.argsz, info.cap_offset]).toEqual([argsz, vfio_region_info.size]);
        expect(info.flags & VFIO_REGION_INFO_FLAG_CAPS).toBe(VFIO_REGION_INFO_FLAG_CAPS);
        const capability = bytes.subarray(info.cap_offset);
        expect(capability.readUInt16LE(0)).toBe(VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
        expect(capability.readUInt16LE(2)).toBe(1);
        expect(capability.readUInt32LE(4)).toBe(0);
        expect(bytes.subarray(WITH_CAPABILITY).every((byte) => byte === POISON)).toBe(true);
      }
    },
  );
}

test(
  'device.region-info.bars',
  'size, flags and offset of each BAR follow from the resource of the device',
  {
    covers: [
      ...([0, 1, 2, 3, 4, 5] as const).map((bar) =>
        VFIO_DEVICE_GET_REGION_INFO.value(`VFIO_PCI_BAR${bar}_REGION_INDEX`),
      ),
      VFIO_DEVICE_GET_REGION_INFO.flag('VFIO_REGION_INFO_FLAG_READ'),
      VFIO_DEVICE_GET_REGION_INFO.flag('VFIO_REGION_INFO_FLAG_WRITE'),
      VFIO_DEVICE_GET_REGION_INFO.flag('VFIO_REGION_INFO_FLAG_MMAP'),
    ],
    source: [CORE, 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_probe_mmaps()'],
    devices: DEVICES,
    peer: ['S4', 'L4', 'A7'],
  },
  ({ device, pci }) => {
    const resources = pci.resources().slice(0, 6);
    const msixBar = [0, 1, 2, 3, 4, 5].filter(
      (index) => device.regionInfo(index).flags & VFIO_REGION_INFO_FLAG_CAPS,
    );
    expect(msixBar.length).toBeLessThanOrEqual(1);
    for (const [index, { start, size, flags }] of resources.entries()) {
      const mappable =
        (flags & IORESOURCE_MEM) !== 0n && size > 0n && (size >= 4096n || start % 4096n === 0n);
      const info = device.regionInfo(index);
      expect(info, `BAR ${index}`).toMatchObject({
        index,
        size,
        offset: BigInt(index) << 40n,
        flags:
          size === 0n
            ? 0
            : READ_WRITE |
              (mappable ? VFIO_REGION_INFO_FLAG_MMAP : 0) |
              (msixBar.includes(index) ? VFIO_REGION_INFO_FLAG_CAPS : 0),
      });
      if ((flags & IORESOURCE_IO) !== 0n) expect(info.flags & VFIO_REGION_INFO_FLAG_MMAP).toBe(0);
    }
  },
);

test(
  'device.region-info.config',
  'the configuration space is readable, writable, not mappable, and as large as the hardware has it',
  {
    covers: [VFIO_DEVICE_GET_REGION_INFO.value('VFIO_PCI_CONFIG_REGION_INDEX')],
    source: CORE,
    devices: ['edu', 'igb', 'pci-testdev', 'vga'],
  },
  ({ device, pci }) => {
    expect(device.regionInfo(VFIO_PCI_CONFIG_REGION_INDEX)).toMatchObject({
      flags: READ_WRITE,
      size: BigInt(pci.config().length),
      offset: 7n << 40n,
      capabilities: [],
    });
  },
);

test(
  'device.region-info.rom',
  'a ROM with content is readable and as large as its BAR; without a ROM the region is empty',
  {
    covers: [VFIO_DEVICE_GET_REGION_INFO.value('VFIO_PCI_ROM_REGION_INDEX')],
    source: CORE,
    devices: ['e1000e', 'virtio-net', 'vga', 'igb', 'edu'],
  },
  ({ device, pci }) => {
    // A resource alone is none: a ROM BAR, or VGA's shadow at 0xc0000, may have nothing behind it.
    setMemoryEnabled(device, true);
    const size = readRom(pci) ? pci.resources()[6]!.size : 0n;
    expect(device.regionInfo(VFIO_PCI_ROM_REGION_INDEX)).toMatchObject({
      flags: size > 0n ? VFIO_REGION_INFO_FLAG_READ : 0,
      size,
      offset: 6n << 40n,
      capabilities: [],
    });
  },
);

test(
  'device.region-info.rom.memory-disabled',
  'asking for the ROM while memory is disabled works and leaves memory disabled',
  {
    covers: [VFIO_DEVICE_GET_REGION_INFO],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_memory_lock_and_enable()',
    devices: ['e1000e', 'virtio-net', 'vga'],
  },
  ({ device, pci }) => {
    setMemoryEnabled(device, true);
    const before = device.regionInfo(VFIO_PCI_ROM_REGION_INDEX);
    const command = () => [
      pci.config().readUInt16LE(PCI_COMMAND) & PCI_COMMAND_MEMORY,
      memoryEnabled(device),
    ];
    expect(command()).toEqual([2, true]);
    setMemoryEnabled(device, false);
    expect(device.regionInfo(VFIO_PCI_ROM_REGION_INDEX)).toEqual(before);
    expect(command()).toEqual([0, false]);
    expect(pci.config().readUInt32LE(PCI_ROM_ADDRESS) & 1).toBe(0);
  },
);

test(
  'device.region-info.vga.absent',
  'a device that is no VGA controller has no VGA region',
  {
    covers: [VFIO_DEVICE_GET_REGION_INFO.fails('EINVAL')],
    source: CORE,
    devices: ['edu', 'igb'],
  },
  ({ device }) => {
    expect(device.tryGetRegionInfo(VFIO_PCI_VGA_REGION_INDEX)).toFailWith('EINVAL');
  },
);

test(
  'device.region-info.beyond',
  'an index beyond the regions of the device is refused',
  { covers: [VFIO_DEVICE_GET_REGION_INFO.fails('EINVAL')], source: CORE },
  ({ device }) => {
    const { num_regions } = device.info();
    for (const index of [num_regions, num_regions + 1, 0x100, 0x8000_0000, 0xffff_ffff]) {
      expect(device.tryGetRegionInfo(index), `index ${index}`).toFailWith('EINVAL');
    }
  },
);
