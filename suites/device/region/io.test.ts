import {
  PCI_COMMAND_IO,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
  enableDevice,
  expect,
  setCommand,
  setMemoryEnabled,
  test,
  type Device,
} from '../../../harness/testing/index.ts';

const BAR_RW = 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_bar_rw()';
/** Index of the I/O BAR of each device that has one. */
const IO_BAR: Readonly<Record<string, number>> = { e1000e: 2, igb: 2, 'bridge-child-b': 1 };
/** Multicast table array of Intel's network controllers, reachable through IOADDR and IODATA too. */
const MTA = 0x5200;
const IOADDR = 0;
const IODATA = 4;

function enableBoth(device: Device): void {
  enableDevice(device);
  setCommand(device, { set: PCI_COMMAND_IO });
}

test(
  'device.io.info',
  'an I/O BAR can be read and written and never mapped',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_probe_mmaps()',
    devices: ['e1000e', 'igb', 'bridge-child-b'],
  },
  ({ device, pci, role }) => {
    const region = device.region(IO_BAR[role]!);
    expect(region.info.flags).toBe(VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
    expect(region.info.flags & VFIO_REGION_INFO_FLAG_MMAP).toBe(0);
    expect(region.info.size).toBe(pci.resources()[IO_BAR[role]!]!.size);
    expect(region.tryMap({ size: 4096n })).toFailWith('EINVAL');
  },
);

test(
  'device.io.registers',
  'what is written through an I/O BAR is seen in the memory BAR of the same device, and the reverse',
  { covers: [], source: BAR_RW, devices: ['e1000e', 'igb'] },
  ({ device, role }) => {
    enableBoth(device);
    const io = device.region(IO_BAR[role]!);
    const memory = device.region(0);
    for (const [index, value] of [0x89ab_cdef, 0, 0xffff_ffff, 0x0102_0304].entries()) {
      io.write32(IOADDR, MTA + 4 * index);
      expect(io.read32(IOADDR)).toBe(MTA + 4 * index);
      io.write32(IODATA, value);
      expect(memory.read32(MTA + 4 * index)).toBe(value);
      memory.write32(MTA + 4 * index, ~value >>> 0);
      expect(io.read32(IODATA)).toBe(~value >>> 0);
    }
  },
);

test(
  'device.io.widths',
  'an I/O BAR is read byte by byte, by words and by double words with the same content',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_core_do_io_rw()',
    device: 'bridge-child-a',
  },
  ({ device }) => {
    // rtl8139: the station address at 0, the multicast filter at 8, both in I/O and memory space.
    enableBoth(device);
    const io = device.region(0);
    const memory = device.region(1);
    const address = memory.read(0, 6);
    expect(address.subarray(0, 3)).toEqual(Buffer.from([0x52, 0x54, 0x00]));
    const bytes = Buffer.from([0, 1, 2, 3, 4, 5].map((offset) => io.read8(offset)));
    expect(bytes).toEqual(address);
    expect([io.read16(0), io.read16(2), io.read16(4)]).toEqual(
      [0, 2, 4].map((at) => address.readUInt16LE(at)),
    );
    expect(io.read32(0)).toBe(address.readUInt32LE(0));
    expect(io.read(1, 5)).toEqual(address.subarray(1));
    for (const value of [0x8765_4321, 0]) {
      io.write32(8, value);
      expect(memory.read32(8)).toBe(value);
      io.write16(10, 0xbeef);
      expect(memory.read32(8)).toBe(((value & 0xffff) | 0xbeef_0000) >>> 0);
      io.write8(8, 0x5a);
      expect(memory.read8(8)).toBe(0x5a);
    }
  },
);

test(
  'device.io.end',
  'an access to an I/O BAR is cut at its end, and refused from there on',
  { covers: [], source: BAR_RW, devices: ['e1000e', 'igb', 'bridge-child-b'] },
  ({ device, role }) => {
    enableBoth(device);
    const io = device.region(IO_BAR[role]!);
    expect(io.tryRead(io.size - 4, 16)).toSucceed(4);
    expect(io.tryRead(io.size - 1, 2)).toSucceed(1);
    expect(io.tryRead(io.size, 1)).toFailWith('EINVAL');
    expect(io.tryWrite(io.size, Buffer.alloc(4))).toFailWith('EINVAL');
  },
);

test(
  'device.io.memory-disabled',
  'an I/O BAR stays usable while memory is disabled',
  { covers: [], source: `${BAR_RW}: IORESOURCE_MEM`, devices: ['e1000e', 'igb'] },
  ({ device, role }) => {
    enableBoth(device);
    const io = device.region(IO_BAR[role]!);
    setMemoryEnabled(device, false);
    io.write32(IOADDR, MTA);
    io.write32(IODATA, 0x7b7b_7b7b);
    expect(io.read32(IODATA)).toBe(0x7b7b_7b7b);
    expect(device.region(0).tryRead(MTA, 4)).toFailWith('EIO');
    setMemoryEnabled(device, true);
    expect(device.region(0).read32(MTA)).toBe(0x7b7b_7b7b);
  },
);

test(
  'device.io.disabled',
  'with I/O decoding off the device answers no access to its I/O BAR, and memory works on',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_config.c vfio_basic_config_write()',
    device: 'igb',
  },
  ({ device, role }) => {
    enableBoth(device);
    const io = device.region(IO_BAR[role]!);
    io.write32(IOADDR, MTA);
    setCommand(device, { clear: PCI_COMMAND_IO });
    expect(io.tryRead(IOADDR, 4).value.readUInt32LE()).toBe(0xffff_ffff);
    expect(device.region(0).tryRead(MTA, 4)).toSucceed(4);
    setCommand(device, { set: PCI_COMMAND_IO });
    expect(io.read32(IOADDR)).toBe(MTA);
  },
);
