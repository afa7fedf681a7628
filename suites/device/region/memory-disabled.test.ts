import {
  Program,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  VFIO_REGION_INFO_FLAG_MMAP,
  enableDevice,
  expect,
  runParallel,
  scratchRegisters,
  setCommand,
  setMemoryEnabled,
  test,
} from '../../../harness/testing/index.ts';

const FAULT = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_vmf_insert_pfn()';
const ZAP = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_zap_and_down_write_memory_lock()';
const RDWR = 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_core_ioread32()';
const DEVICES = ['edu', 'igb', 'nvme', 'ivshmem'];
const CVE = ['abafbc551fdd (CVE-2020-12888: access to disabled memory)'];
const IN_TIME = 10_000_000_000n;

test(
  'device.memory.disabled.read-write',
  'while memory is disabled reads and writes of a memory BAR fail with EIO at every width',
  { covers: [], source: RDWR, devices: DEVICES, fixes: CVE },
  ({ device, role }) => {
    enableDevice(device);
    const { region: index, offset, mask } = scratchRegisters(role);
    const region = device.region(index);
    const value = (0x4321_9000 & mask) >>> 0;
    region.write32(offset, value);
    setMemoryEnabled(device, false);
    for (const length of [1, 2, 4, 8, 12]) {
      expect(region.tryRead(offset, length), `${length} bytes`).toFailWith('EIO');
      expect(region.tryWrite(offset, Buffer.alloc(length))).toFailWith('EIO');
    }
    setMemoryEnabled(device, true);
    expect(region.read32(offset)).toBe(value);
    region.write32(offset, 0);
  },
);

test(
  'device.memory.disabled.mapping',
  'disabling memory takes a mapping away until memory is enabled again',
  { covers: [], source: [ZAP, FAULT], devices: DEVICES, fixes: CVE },
  ({ device, map, role }) => {
    enableDevice(device);
    const { region, offset, mask } = scratchRegisters(role);
    const mapping = map(device.region(region));
    const value = (0x1e1e_1000 & mask) >>> 0;
    mapping.store32(offset, value);
    for (let round = 0; round < 3; round++) {
      setMemoryEnabled(device, false);
      expect(mapping.tryLoad(32, offset), `round ${round}`).toFailWith('EIO');
      expect(mapping.tryStore(32, offset, 0)).toFailWith('EIO');
      setMemoryEnabled(device, true);
      expect(mapping.load32(offset)).toBe(value);
    }
    mapping.store32(offset, 0);
  },
);

test(
  'device.memory.disabled.new-mapping',
  'a mapping made while memory is disabled becomes usable when memory is enabled',
  { covers: [], source: FAULT, devices: ['edu', 'igb', 'ivshmem'] },
  ({ device, map, role }) => {
    const { region, offset } = scratchRegisters(role);
    setMemoryEnabled(device, false);
    const mapping = map(device.region(region));
    expect(mapping.tryLoad(32, offset)).toFailWith('EIO');
    expect(mapping.tryStore(32, offset, 0)).toFailWith('EIO');
    setMemoryEnabled(device, true);
    mapping.store32(offset, 0x3030_1000);
    expect(mapping.load32(offset)).toBe(0x3030_1000);
    mapping.store32(offset, 0);
  },
);

test(
  'device.memory.disabled.every-mapping',
  'disabling memory takes away every mapping of every BAR, through whichever fd it was made',
  { covers: [], source: `${ZAP}: vfio_pci_zap_bars()`, device: 'igb', fixes: CVE },
  ({ device, group, openDevice, map }) => {
    enableDevice(device);
    const second = openDevice(group);
    const mappings = [
      map(device.region(0)),
      map(device.region(0), { offset: 0x5000n, size: 4096n }),
      map(device.region(1), { size: 4096n }),
      map(device.region(3)),
      map(second.region(0)),
      map(second.region(3)),
    ];
    const loads = () => mappings.map((mapping) => mapping.tryLoad(32, 0).errno);
    expect(loads()).toEqual(mappings.map(() => null));
    setMemoryEnabled(second, false);
    expect(loads()).toEqual(mappings.map(() => 'EIO'));
    setMemoryEnabled(device, true);
    expect(loads()).toEqual(mappings.map(() => null));
  },
);

test(
  'device.memory.disabled.each-bar',
  'disabling memory takes away the mapping of whichever BAR',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_zap_bars()',
    devices: ['ahci', 'virtio-net', 'vmxnet3', 'vga'],
    fixes: CVE,
  },
  ({ device, map }) => {
    setCommand(device, { set: PCI_COMMAND_MEMORY });
    const mappings = [0, 1, 2, 3, 4, 5]
      .map((index) => device.region(index))
      .filter(({ info }) => info.flags & VFIO_REGION_INFO_FLAG_MMAP)
      .map((region) => map(region, { size: 4096n }));
    const loads = () => mappings.map((mapping) => mapping.tryLoad(32, 0).errno);
    expect(mappings.length).toBeGreaterThan(0);
    expect(loads()).toEqual(mappings.map(() => null));
    setCommand(device, { clear: PCI_COMMAND_MEMORY });
    expect(loads()).toEqual(mappings.map(() => 'EIO'));
    setCommand(device, { set: PCI_COMMAND_MEMORY });
    expect(loads()).toEqual(mappings.map(() => null));
  },
);

test(
  'device.memory.disabled.other-bits',
  'writing the command register with memory left on takes no mapping away, and other devices keep theirs',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_config.c vfio_basic_config_write()',
    device: 'edu',
    uses: ['ivshmem'],
  },
  ({ device, map, openRole }) => {
    enableDevice(device);
    const other = openRole('ivshmem').device;
    enableDevice(other);
    const mine = map(device.region(0));
    const theirs = map(other.region(2), { size: 4096n });
    theirs.store32(0, 0x7171_7171);
    const command = device.config.read16(PCI_COMMAND);
    device.config.write16(PCI_COMMAND, command & ~4);
    device.config.write8(PCI_COMMAND + 1, 0);
    expect(mine.load32(0)).toBe(0x0100_00ed);
    setMemoryEnabled(device, false);
    expect(mine.tryLoad(32, 0)).toFailWith('EIO');
    expect(theirs.load32(0)).toBe(0x7171_7171);
    expect(other.region(2).read32(0)).toBe(0x7171_7171);
    setMemoryEnabled(device, true);
    theirs.store32(0, 0);
  },
);

test(
  'device.memory.disabled.child',
  'disabling memory takes the mapping away from a child process as well',
  { covers: [], source: ZAP, device: 'ivshmem', fixes: CVE },
  ({ device, map }) => {
    enableDevice(device);
    const mapping = map(device.region(2), { size: 4096n });
    mapping.store32(0, 0x5150_5150);
    const { config } = device;
    const at = config.info.offset + BigInt(PCI_COMMAND);
    const command = config.read16(PCI_COMMAND);
    const word = (value: number) => Buffer.from([value & 0xff, value >> 8]);
    const program = new Program();
    const stage = program.data(8);
    let before!: ReturnType<Program['load']>;
    let during!: ReturnType<Program['load']>;
    let after!: ReturnType<Program['load']>;
    const child = program.fork(() => {
      before = program.load(32, mapping.address);
      program.store(32, stage, 1);
      program.wait(32, stage, 0xffff, 2, IN_TIME);
      during = program.load(32, mapping.address);
      program.store(32, stage, 3);
      program.wait(32, stage, 0xffff, 4, IN_TIME);
      after = program.load(32, mapping.address);
    });
    program.wait(32, stage, 0xffff, 1, IN_TIME);
    program.syscall('pwrite', device.fd, program.data(word(command & ~2)), 2, at);
    const mine = program.load(32, mapping.address);
    program.store(32, stage, 2);
    program.wait(32, stage, 0xffff, 3, IN_TIME);
    program.syscall('pwrite', device.fd, program.data(word(command | 2)), 2, at);
    program.store(32, stage, 4);
    program.syscall('wait4', child, 0, 0, 0);
    program.run();
    expect([program.result(before), program.value(before)]).toEqual([0, 0x5150_5150n]);
    expect([program.result(mine), program.result(during)]).toEqual([-5, -5]);
    expect([program.result(after), program.value(after)]).toEqual([0, 0x5150_5150n]);
    mapping.store32(0, 0);
  },
);

test(
  'device.memory.disabled.race',
  'while one thread switches memory off and on, others see the right content or a refusal, nothing else',
  { covers: [], source: [ZAP, RDWR], device: 'ivshmem', fixes: CVE },
  ({ device, map }) => {
    enableDevice(device);
    const region = device.region(2);
    const mapping = map(region, { size: 4096n });
    mapping.store32(0, 0x6f6f_6f6f);
    const { config } = device;
    const command = config.read16(PCI_COMMAND);
    const at = config.info.offset + BigInt(PCI_COMMAND);
    const word = (value: number) => Buffer.from([value & 0xff, value >> 8]);
    const ROUNDS = 60;
    const switching = new Program();
    const reading = new Program();
    const loading = new Program();
    const off = switching.data(word(command & ~2));
    const on = switching.data(word(command | 2));
    const writes: ReturnType<Program['syscall']>[] = [];
    const reads: { ref: ReturnType<Program['syscall']>; bytes: ReturnType<Program['data']> }[] = [];
    const loads: ReturnType<Program['load']>[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      writes.push(switching.syscall('pwrite', device.fd, off, 2, at));
      writes.push(switching.syscall('pwrite', device.fd, on, 2, at));
      const bytes = reading.data(4);
      reads.push({ bytes, ref: reading.syscall('pread', device.fd, bytes, 4, region.info.offset) });
      loads.push(loading.load(32, mapping.address));
      loads.push(loading.load(32, mapping.address));
    }
    runParallel([switching, reading, loading]);
    expect(writes.map((ref) => switching.result(ref))).toEqual(writes.map(() => 2));
    for (const { ref, bytes } of reads) {
      const result = reading.result(ref);
      expect([4, -5]).toContain(result);
      if (result === 4) expect(bytes.bytes.readUInt32LE()).toBe(0x6f6f_6f6f);
    }
    for (const ref of loads) {
      const result = loading.result(ref);
      expect([0, -5]).toContain(result);
      if (result === 0) expect(loading.value(ref)).toBe(0x6f6f_6f6fn);
    }
    expect(mapping.load32(0)).toBe(0x6f6f_6f6f);
    mapping.store32(0, 0);
  },
);
