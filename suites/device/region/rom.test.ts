import {
  PCI_COMMAND,
  PCI_ROM_ADDRESS,
  VFIO_PCI_ROM_REGION_INDEX,
  enableDevice,
  expect,
  readRom,
  setMemoryEnabled,
  test,
} from '../../../harness/testing/index.ts';

const BAR_RW = 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_bar_rw()';
const ROMS = ['e1000e', 'virtio-net'];

test(
  'device.rom.content',
  'the ROM region holds the image that sysfs shows, and ones up to the end of the BAR',
  { covers: [], source: BAR_RW, devices: ROMS },
  ({ device, pci }) => {
    enableDevice(device);
    const image = readRom(pci)!;
    const rom = device.region(VFIO_PCI_ROM_REGION_INDEX);
    expect(rom.size).toBeGreaterThan(image.length);
    const content = rom.read(0, rom.size);
    expect(content.readUInt16LE(0)).toBe(0xaa55);
    expect(content.subarray(0, image.length).equals(image)).toBe(true);
    expect(content.subarray(image.length).every((byte) => byte === 0xff)).toBe(true);
  },
);

test(
  'device.rom.partial',
  'the ROM can be read at any offset and length, across the end of the image and of the region',
  { covers: [], source: BAR_RW, devices: ROMS },
  ({ device, pci }) => {
    enableDevice(device);
    const { length } = readRom(pci)!;
    const rom = device.region(VFIO_PCI_ROM_REGION_INDEX);
    const whole = rom.read(0, rom.size);
    for (const offset of [0, 1, 2, 3, 5, 0x41, length - 9, length - 1, length, length + 3]) {
      for (const size of [1, 2, 3, 4, 7, 8, 16]) {
        const wanted = whole.subarray(offset, offset + size);
        expect(rom.read(offset, size).equals(wanted), `${size} bytes at ${offset}`).toBe(true);
      }
    }
    expect(rom.tryRead(rom.size - 3, 16)).toSucceed(3);
    expect(rom.tryRead(rom.size, 1)).toFailWith('EINVAL');
  },
);

test(
  'device.rom.read-only',
  'the ROM region cannot be written',
  { covers: [], source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_rw()', devices: ROMS },
  ({ device }) => {
    enableDevice(device);
    const rom = device.region(VFIO_PCI_ROM_REGION_INDEX);
    const before = rom.read(0, 64);
    for (const length of [1, 2, 4, 8, 64]) {
      expect(rom.tryWrite(0, Buffer.alloc(length))).toFailWith('EINVAL');
    }
    expect(rom.tryWrite(0, Buffer.alloc(0))).toSucceed(0);
    expect(rom.read(0, 64).equals(before)).toBe(true);
  },
);

test(
  'device.rom.memory-disabled',
  'the ROM cannot be read while memory is disabled, and can be again afterwards',
  { covers: [], source: BAR_RW, devices: ROMS },
  ({ device }) => {
    enableDevice(device);
    const rom = device.region(VFIO_PCI_ROM_REGION_INDEX);
    const before = rom.read(0, 16);
    setMemoryEnabled(device, false);
    // ENOMEM: the kernel finds no valid image then; EIO: it does, and looks at the command register.
    for (const length of [1, 2, 4, 8]) {
      expect(['ENOMEM', 'EIO']).toContain(rom.tryRead(0, length).errno);
    }
    setMemoryEnabled(device, true);
    expect(rom.read(0, 16).equals(before)).toBe(true);
  },
);

test(
  'device.rom.enable-bit',
  'reading the ROM works whatever its enable bit says, and changes neither that bit nor the command register',
  { covers: [], source: BAR_RW, devices: ROMS },
  ({ device, pci }) => {
    enableDevice(device);
    const rom = device.region(VFIO_PCI_ROM_REGION_INDEX);
    const bits = () => [
      device.config.read32(PCI_ROM_ADDRESS) & 1,
      pci.config().readUInt32LE(PCI_ROM_ADDRESS) & 1,
      device.config.read16(PCI_COMMAND),
    ];
    const before = bits();
    expect(before.slice(0, 2)).toEqual([0, 0]);
    expect(rom.read16(0)).toBe(0xaa55);
    expect(bits()).toEqual(before);
    const address = device.config.read32(PCI_ROM_ADDRESS);
    device.config.write32(PCI_ROM_ADDRESS, address | 1);
    expect(rom.read16(0)).toBe(0xaa55);
    device.config.write32(PCI_ROM_ADDRESS, address);
    expect(bits()).toEqual(before);
  },
);
