import { enableDevice, expect, msixTable, sys, test } from '../../../harness/testing/index.ts';

const IO_RW = 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_core_do_io_rw()';
const ENABLE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_enable(): msix_offset, msix_size';
/** Devices whose table begins at 0, lies within a BAR with registers, or ends in the middle of a page. */
const DEVICES = ['igb', 'e1000e', 'nvme', 'virtio-net', 'xhci', 'vmxnet3'];

const ones = (bytes: Buffer) => bytes.every((byte) => byte === 0xff);

test(
  'device.msix-table.read',
  'reads of the MSI-X table give ones, and those beside it what the device holds there',
  { covers: [], source: [IO_RW, ENABLE], devices: DEVICES },
  ({ device, map }) => {
    enableDevice(device);
    const { bar, offset, size } = msixTable(device);
    const region = device.region(bar);
    const mapping = map(region);
    for (const length of [1, 2, 4, 8, 16]) {
      expect(ones(region.read(offset, length)), `first ${length}`).toBe(true);
      expect(ones(region.read(offset + size - length, length)), `last ${length}`).toBe(true);
    }
    expect(ones(region.read(offset, size))).toBe(true);
    expect(ones(region.read(offset + 3, size - 7))).toBe(true);
    // The vector control word of the table itself is not all ones: vectors are masked by one bit.
    expect(mapping.load32(offset + 12)).not.toBe(0xffff_ffff);
    if (offset + size < region.size) {
      const beside = mapping.load32(offset + size);
      expect(region.read32(offset + size)).toBe(beside);
      const across = region.read(offset + size - 8, 12);
      expect(ones(across.subarray(0, 8))).toBe(true);
      expect(across.readUInt32LE(8)).toBe(beside);
    }
    if (offset >= 4) {
      const beside = mapping.load32(offset - 4);
      expect(region.read32(offset - 4)).toBe(beside);
      const across = region.read(offset - 4, 12);
      expect(across.readUInt32LE(0)).toBe(beside);
      expect(ones(across.subarray(4))).toBe(true);
    }
  },
);

test(
  'device.msix-table.boundary',
  'the excluded range is exactly the table: the last byte is in it, the next is not',
  { covers: [], source: [IO_RW, ENABLE], devices: ['igb', 'e1000e', 'nvme', 'virtio-net'] },
  ({ device }) => {
    enableDevice(device);
    const { bar, offset, size } = msixTable(device);
    const region = device.region(bar);
    // Beyond the table these devices have nothing, which QEMU reads as zeros.
    expect([...region.read(offset + size - 2, 4)]).toEqual([0xff, 0xff, 0, 0]);
    expect([...region.read(offset + size - 1, 3)]).toEqual([0xff, 0, 0]);
    expect([...region.read(offset + size, 8)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    if (offset >= 8) {
      expect([...region.read(offset - 2, 4)]).toEqual([0, 0, 0xff, 0xff]);
      expect([...region.read(offset - 1, 2)]).toEqual([0, 0xff]);
    }
  },
);

test(
  'device.msix-table.write',
  'writes to the MSI-X table are taken and dropped',
  { covers: [], source: IO_RW, devices: DEVICES },
  ({ device, map }) => {
    enableDevice(device);
    const { bar, offset, size } = msixTable(device);
    const region = device.region(bar);
    const mapping = map(region);
    const content = () =>
      Array.from({ length: size / 4 }, (_, i) => mapping.load32(offset + 4 * i));
    const before = content();
    for (const length of [1, 2, 4, 8, 16, size]) {
      expect(region.tryWrite(offset, Buffer.alloc(length, 0x5a)), `${length} bytes`).toSucceed(
        length,
      );
    }
    expect(region.tryWrite(offset + size - 4, Buffer.alloc(4, 0x5a))).toSucceed(4);
    expect(content()).toEqual(before);
  },
);

test(
  'device.msix-table.bad-buffer',
  'a buffer that is not there gives EFAULT for the ones of the MSI-X table too',
  { covers: [], source: IO_RW, devices: ['igb', 'e1000e'] },
  ({ device }) => {
    enableDevice(device);
    const { bar, offset } = msixTable(device);
    const at = device.region(bar).info.offset + BigInt(offset);
    for (const length of [1, 4, 16]) {
      expect(sys.call('pread', device.fd, 0x10, length, at)).toBe(-14);
    }
    expect(device.region(bar).read32(offset)).toBe(0xffff_ffff);
  },
);

test(
  'device.msix-table.mapped',
  'the page of the MSI-X table can be mapped, and shows and takes what the device holds',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_core.c msix_mmappable_cap()',
    fixes: ['a32295c612c5 (MSI-X table mappable)'],
    devices: ['igb', 'nvme'],
  },
  ({ device, map }) => {
    enableDevice(device);
    const { bar, offset } = msixTable(device);
    const mapping = map(device.region(bar), { offset: BigInt(offset) & -4096n, size: 4096n });
    const word = (offset & 0xfff) + 8;
    const before = mapping.load32(word);
    mapping.store32(word, 0x1234);
    expect(mapping.load32(word)).toBe(0x1234);
    expect(device.region(bar).read32(offset + 8)).toBe(0xffff_ffff);
    mapping.store32(word, before);
  },
);

test(
  'device.msix-table.other-bar',
  'the same offset in another BAR is not excluded',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_bar_rw(): msix_bar',
    devices: ['igb', 'e1000e'],
  },
  ({ device, map }) => {
    enableDevice(device);
    const { bar, offset } = msixTable(device);
    expect(bar).not.toBe(0);
    const STATUS = 8;
    const region = device.region(0);
    expect(region.read32(offset + STATUS)).toBe(map(region).load32(offset + STATUS));
    expect(region.read32(offset + STATUS)).not.toBe(0xffff_ffff);
  },
);

test(
  'device.msix-table.absent',
  'a device without MSI-X has no excluded range',
  { covers: [], source: ENABLE, devices: ['edu', 'ivshmem'] },
  ({ device, map }) => {
    enableDevice(device);
    const region = device.region(0);
    const mapping = map(region, { size: 4096n });
    for (const offset of [0, 4]) {
      expect(region.read32(offset)).toBe(mapping.load32(offset));
      expect(region.read32(offset)).not.toBe(0xffff_ffff);
    }
  },
);
