import {
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  Program,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_ROM_REGION_INDEX,
  VFIO_PCI_VGA_REGION_INDEX,
  enableDevice,
  expect,
  scratchRegisters,
  sys,
  test,
} from '../../../harness/testing/index.ts';

const BAR_RW = 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_bar_rw()';
const IO_RW = 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_core_do_io_rw()';
const RW = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_rw()';
/** Devices with registers that hold what is written. */
const SCRATCH = ['edu', 'edu-rp', 'e1000e', 'igb', 'nvme', 'ivshmem'];
/** Region of ivshmem's shared memory: every byte can be read and written at every width. */
const SHARED = 2;
/** Each alignment with lengths that need several accesses of each width. */
const PLACES = Array.from({ length: 9 }, (_, offset) =>
  Array.from({ length: 19 }, (_, index) => ({ offset, length: index + 1 })),
).flat();

test(
  'device.region.read-write',
  'what is written through the fd is read through the fd and through a mapping, and the reverse',
  { covers: [], source: BAR_RW, devices: SCRATCH, peer: ['S4', 'A7'] },
  ({ device, map, role }) => {
    enableDevice(device);
    const { region: index, offset, mask } = scratchRegisters(role);
    const region = device.region(index);
    const mapping = map(region);
    for (const pattern of [0x1234_5678, 0xedcb_a987, 0, 0xffff_ffff]) {
      const value = (pattern & mask) >>> 0;
      const other = (~pattern & mask) >>> 0;
      region.write32(offset, value);
      expect(region.read32(offset)).toBe(value);
      expect(mapping.load32(offset)).toBe(value);
      mapping.store32(offset, other);
      expect(region.read32(offset)).toBe(other);
    }
    region.write32(offset, 0);
  },
);

test(
  'device.region.every-read',
  'a read of any length at any alignment gives the bytes of the device, and no more',
  { covers: [], source: IO_RW, device: 'ivshmem' },
  ({ device, map }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    const mapping = map(region, { size: 4096n });
    const program = new Program();
    const pattern = Buffer.from(Array.from({ length: 64 }, (_, i) => (i * 37 + 11) & 0xff));
    program.copy(mapping.address, program.data(pattern), 64);
    const reads = PLACES.map(({ offset, length }) => {
      const bytes = program.data(Buffer.alloc(length + 1, 0xee));
      const at = region.info.offset + BigInt(offset);
      const ref = program.syscall('pread', device.fd, bytes, length, at);
      return { offset, length, bytes, ref };
    });
    program.run();
    for (const { offset, length, bytes, ref } of reads) {
      const what = `${length} bytes at ${offset}`;
      expect(program.result(ref), what).toBe(length);
      expect([...bytes.bytes], what).toEqual([...pattern.subarray(offset, offset + length), 0xee]);
    }
  },
);

test(
  'device.region.every-write',
  'a write of any length at any alignment changes exactly the bytes that it names',
  { covers: [], source: IO_RW, device: 'ivshmem' },
  ({ device, map }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    const mapping = map(region, { size: 4096n });
    const program = new Program();
    const clean = program.data(Buffer.alloc(40, 0x5a));
    const writes = PLACES.map(({ offset, length }) => {
      const source = Buffer.from(Array.from({ length }, (_, i) => (i * 29 + offset + 3) & 0xff));
      program.copy(mapping.address, clean, 40);
      const at = region.info.offset + BigInt(offset);
      const ref = program.syscall('pwrite', device.fd, program.data(source), length, at);
      const after = program.data(40);
      program.copy(after, mapping.address, 40);
      return { offset, source, after, ref };
    });
    program.run();
    for (const { offset, source, after, ref } of writes) {
      const what = `${source.length} bytes at ${offset}`;
      expect(program.result(ref), what).toBe(source.length);
      const wanted = Buffer.alloc(40, 0x5a);
      source.copy(wanted, offset);
      expect(after.bytes.equals(wanted), what).toBe(true);
    }
  },
);

test(
  'device.region.access-width',
  'accesses reach the device as the widest aligned ones that fit',
  {
    covers: [],
    source: IO_RW,
    since: '6.11',
    fixes: ['4df13a6871d9 (8-byte loads and stores)'],
    device: 'edu',
  },
  ({ device, map }) => {
    // edu answers its first registers to 4 bytes only: all ones to 8, zero to fewer.
    enableDevice(device);
    const region = device.region(0);
    const identification = map(region).load32(0);
    expect(identification).toBe(0x0100_00ed);
    expect(region.read32(0)).toBe(identification);
    expect(region.read64(0)).toBe(0xffff_ffff_ffff_ffffn);
    expect(region.read(0, 12).subarray(0, 8)).toEqual(Buffer.alloc(8, 0xff));
    expect(region.read(0, 6)).toEqual(Buffer.from([0xed, 0, 0, 1, 0, 0]));
    expect(region.read(0, 7)).toEqual(Buffer.from([0xed, 0, 0, 1, 0, 0, 0]));
    expect(region.read16(0)).toBe(0);
    expect(region.read8(0)).toBe(0);
    // 0x04 answers with the complement of what was written; it is no place for 8 bytes at once.
    region.write32(4, 0x0f0f_1234);
    expect(region.read(4, 12).readUInt32LE()).toBe(0xf0f0_edcb);
    expect(region.read(4, 12).subarray(4)).toEqual(Buffer.alloc(8, 0xff));
    // 64 bits: the register at 0x80 takes both halves only from one access.
    region.write64(0x80, 0x1122_3344_5566_7788n);
    expect(region.read64(0x80)).toBe(0x1122_3344_5566_7788n);
    region.write64(0x80, 0n);
  },
);

test(
  'device.region.access-width.dword',
  'before Linux 6.11 accesses reach the device as at most 4 bytes at once',
  { covers: [], source: IO_RW, until: '6.11', device: 'edu' },
  ({ device }) => {
    enableDevice(device);
    const region = device.region(0);
    expect(region.read64(0) & 0xffff_ffffn).toBe(0x0100_00edn);
    expect(region.read16(0)).toBe(0);
  },
);

test(
  'device.region.access-width.word',
  'an aligned access of two bytes reaches the device as one',
  { covers: [], source: IO_RW, device: 'bridge-child-a' },
  ({ device }) => {
    // rtl8139: the interrupt mask takes words only.
    const INTERRUPT_MASK = 0x3c;
    enableDevice(device);
    const memory = device.region(1);
    for (const value of [0x007f, 0x0155, 0]) {
      memory.write16(INTERRUPT_MASK, value);
      expect(memory.read16(INTERRUPT_MASK)).toBe(value);
    }
  },
);

test(
  'device.region.end',
  'an access that crosses the end of a region is cut there, one that begins there is refused',
  { covers: [], source: BAR_RW, devices: ['edu', 'igb', 'ivshmem', 'pci-testdev', 'virtio-net'] },
  ({ device }) => {
    enableDevice(device);
    for (const index of [0, 1, 2, 3, 4, 5]) {
      const region = device.region(index);
      if (region.size === 0) continue;
      const { size } = region;
      expect(region.tryRead(size - 4, 4), `BAR ${index}`).toSucceed(4);
      expect(region.tryRead(size - 4, 8)).toSucceed(4);
      expect(region.tryRead(size - 1, 64)).toSucceed(1);
      expect(region.tryRead(size, 4)).toFailWith('EINVAL');
      expect(region.tryRead(size + 4096, 1)).toFailWith('EINVAL');
      expect(region.tryRead((1n << 40n) - 4n, 4)).toFailWith('EINVAL');
      expect(region.tryWrite(size, Buffer.alloc(4))).toFailWith('EINVAL');
      expect(region.tryWrite(size + 4096, Buffer.alloc(4))).toFailWith('EINVAL');
    }
  },
);

test(
  'device.region.end.write',
  'a write that crosses the end of a region writes what fits and says how much that was',
  { covers: [], source: BAR_RW, device: 'ivshmem' },
  ({ device, map }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    const mapping = map(region);
    const last = region.size - 8;
    mapping.store(64, last, 0n);
    expect(region.tryWrite(last + 5, Buffer.alloc(16, 0xa5))).toSucceed(3);
    expect(mapping.load(64, last)).toBe(0xa5a5_a500_0000_0000n);
    mapping.store(64, last, 0n);
  },
);

test(
  'device.region.absent',
  'a region that the device lacks can neither be read nor written',
  { covers: [], source: [BAR_RW, RW], devices: ['edu', 'igb', 'nvme'] },
  ({ device }) => {
    const absent = [0, 1, 2, 3, 4, 5, VFIO_PCI_ROM_REGION_INDEX].filter(
      (index) => device.regionInfo(index).size === 0n,
    );
    expect(absent.length).toBeGreaterThan(0);
    const offsets = [
      ...absent.map((index) => BigInt(index) << 40n),
      BigInt(VFIO_PCI_VGA_REGION_INDEX) << 40n,
      (BigInt(VFIO_PCI_VGA_REGION_INDEX) << 40n) + 0x3c0n,
    ];
    for (const offset of offsets) {
      expect(sys.pread(device.fd, Buffer.alloc(4), offset), `read at ${offset}`).toBe(-22);
      expect(sys.pwrite(device.fd, Buffer.alloc(4), offset), `write at ${offset}`).toBe(-22);
    }
  },
);

test(
  'device.region.index-beyond',
  'offsets above the last region are refused',
  { covers: [], source: RW },
  ({ device }) => {
    for (const index of [VFIO_PCI_NUM_REGIONS, VFIO_PCI_NUM_REGIONS + 1, 255, 0x7fffff]) {
      const offset = BigInt(index) << 40n;
      expect(sys.pread(device.fd, Buffer.alloc(4), offset), `index ${index}`).toBe(-22);
      expect(sys.pwrite(device.fd, Buffer.alloc(4), offset), `index ${index}`).toBe(-22);
    }
  },
);

test(
  'device.region.zero-length',
  'reading or writing nothing succeeds with 0, wherever it is',
  { covers: [], source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_read()' },
  ({ device }) => {
    for (const offset of [0n, 1n << 20n, 7n << 40n, 8n << 40n, 9n << 40n]) {
      expect(sys.pread(device.fd, Buffer.alloc(0), offset)).toBe(0);
      expect(sys.pwrite(device.fd, Buffer.alloc(0), offset)).toBe(0);
    }
  },
);

test(
  'device.region.bad-buffer',
  'a buffer that is not there gives EFAULT, at every width, and the device is usable afterwards',
  { covers: [], source: IO_RW, device: 'ivshmem' },
  ({ device }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    region.write64(0, 0x0102_0304_0506_0708n);
    const program = new Program();
    const refs = [1, 2, 4, 8].flatMap((length) => [
      program.syscall('pread', device.fd, 0x10, length, region.info.offset),
      program.syscall('pwrite', device.fd, 0x10, length, region.info.offset),
    ]);
    program.run();
    expect(refs.map((ref) => program.result(ref))).toEqual(refs.map(() => -14));
    expect(region.read64(0)).toBe(0x0102_0304_0506_0708n);
    region.write64(0, 0n);
  },
);

test(
  'device.region.bad-buffer.end',
  'a buffer that ends where memory does not go on gives EFAULT, in a BAR and in configuration space',
  {
    covers: [],
    source: [IO_RW, 'drivers/vfio/pci/vfio_pci_config.c vfio_pci_config_rw()'],
    device: 'ivshmem',
  },
  ({ device, memory }) => {
    const START = 0x10;
    enableDevice(device);
    const pages = memory({ size: 8192, kind: '4k' });
    expect(sys.mprotect(pages.address + 4096n, 4096, PROT_NONE)).toBe(0);
    for (const region of [device.region(SHARED), device.config]) {
      // In configuration space: addresses of BARs, of which the device does not see anything.
      const before = region.read(START, 12);
      for (const fitting of [4, 8]) {
        const address = pages.address + 4096n - BigInt(fitting);
        const at = region.info.offset + BigInt(START);
        for (const call of ['pread', 'pwrite'] as const) {
          expect(sys.call(call, device.fd, address, 12, at), `${call}, ${fitting} fit`).toBe(-14);
        }
        expect(sys.call('pread', device.fd, address, fitting, at)).toBe(fitting);
        region.write(START, before);
      }
    }
    expect(sys.mprotect(pages.address + 4096n, 4096, PROT_READ | PROT_WRITE)).toBe(0);
  },
);

test(
  'device.region.position',
  'read(2) and write(2) advance the position of the fd by what they transferred',
  { covers: [], source: `${BAR_RW}: *ppos`, device: 'ivshmem' },
  ({ device, openDevice, group }) => {
    // Region 0 of ivshmem: interrupt mask at 0, interrupt status at 4 (docs/specs/ivshmem-spec.rst).
    enableDevice(device);
    const second = openDevice(group);
    const bar = device.region(0);
    bar.write32(0, 0xdead_beef);
    const one = Buffer.alloc(4);
    expect(sys.read(second.fd, one)).toBe(4);
    expect(one.readUInt32LE()).toBe(0xdead_beef);
    expect(sys.read(second.fd, one)).toBe(4);
    expect(one.readUInt32LE()).not.toBe(0xdead_beef);
    const third = openDevice(group);
    one.writeUInt32LE(0x1234_5678);
    expect(sys.write(third.fd, one)).toBe(4);
    expect(sys.write(third.fd, Buffer.alloc(4))).toBe(4);
    expect(bar.read32(0)).toBe(0x1234_5678);
    bar.write32(0, 0);
  },
);
