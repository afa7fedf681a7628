import {
  MADV_DOFORK,
  MADV_DONTFORK,
  MAP_SHARED,
  MREMAP_MAYMOVE,
  PROT_READ,
  PROT_WRITE,
  Program,
  enableDevice,
  execAgain,
  expect,
  scratchRegisters,
  sys,
  test,
  vmFlags,
} from '../../../harness/testing/index.ts';

const FAULT = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_mmap_huge_fault()';
const MMAP = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_mmap()';
const PAGE = 4096;

test(
  'device.mmap.unmap-pieces',
  'pieces of a mapping can be unmapped; what remains still shows the right place',
  { covers: [], source: MMAP, device: 'ivshmem' },
  ({ device, map }) => {
    enableDevice(device);
    const region = device.region(2);
    const mapping = map(region, { size: BigInt(8 * PAGE) });
    for (let page = 0; page < 8; page++) mapping.store32(page * PAGE, 0xab00 + page);
    // The middle, then the beginning, then the end.
    for (const gone of [3, 0, 7]) {
      expect(sys.munmap(mapping.address + BigInt(gone * PAGE), PAGE)).toBe(0);
      expect(mapping.tryLoad(32, gone * PAGE)).toFailWith('EFAULT');
    }
    for (const page of [1, 2, 4, 5, 6]) {
      expect(mapping.load32(page * PAGE), `page ${page}`).toBe(0xab00 + page);
      expect(region.read32(page * PAGE)).toBe(0xab00 + page);
    }
  },
);

test(
  'device.mmap.unmap-before-fault',
  'a mapping split before its first access shows the right place in both parts',
  { covers: [], source: FAULT, device: 'ivshmem' },
  ({ device, map }) => {
    enableDevice(device);
    const region = device.region(2);
    for (let page = 0; page < 8; page++) region.write32(page * PAGE, 0xcd00 + page);
    const mapping = map(region, { size: BigInt(8 * PAGE) });
    expect(sys.munmap(mapping.address + BigInt(3 * PAGE), PAGE)).toBe(0);
    const seen = [5, 4, 7, 0, 2].map((page) => mapping.load32(page * PAGE));
    expect(seen).toEqual([0xcd05, 0xcd04, 0xcd07, 0xcd00, 0xcd02]);
  },
);

test(
  'device.mmap.mremap',
  'a mapping can move and shrink, and cannot grow',
  { covers: [], source: `${MMAP}: VM_DONTEXPAND`, device: 'ivshmem' },
  ({ device, map, memory }) => {
    enableDevice(device);
    const region = device.region(2);
    region.write32(0, 0x0f0f_0001);
    region.write32(PAGE, 0x0f0f_0002);
    const mapping = map(region, { size: BigInt(4 * PAGE) });
    const target = memory({ size: 4 * PAGE, kind: '4k' });
    const program = new Program();
    const grow = program.syscall('mremap', mapping.address, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    const shrink = program.syscall('mremap', mapping.address, 4 * PAGE, 2 * PAGE, 0);
    const beyond = program.load(32, mapping.address + BigInt(2 * PAGE));
    // MREMAP_MAYMOVE | MREMAP_FIXED
    const move = program.syscall('mremap', mapping.address, 2 * PAGE, 2 * PAGE, 3, target.address);
    const old = program.load(32, mapping.address);
    const first = program.load(32, target.address);
    const second = program.load(32, target.address + BigInt(PAGE));
    const store = program.store(32, target.address, 0x0f0f_0003);
    program.run();
    expect(program.result(grow)).toBe(-14);
    expect(program.address(shrink)).toBe(mapping.address);
    expect(program.result(beyond)).toBe(-14);
    expect(program.address(move)).toBe(target.address);
    expect(program.result(old)).toBe(-14);
    expect([program.value(first), program.value(second)]).toEqual([0x0f0f_0001n, 0x0f0f_0002n]);
    expect(program.result(store)).toBe(0);
    expect(region.read32(0)).toBe(0x0f0f_0003);
  },
);

test(
  'device.mmap.after-close',
  'a mapping outlives the fd that it was made from, and keeps the device open',
  { covers: [], source: MMAP, device: 'ivshmem' },
  ({ group, pci, openDevice, map }) => {
    const first = openDevice(group, pci.bdf);
    enableDevice(first);
    const mapping = map(first.region(2), { size: 4096n });
    mapping.store32(0, 0x6006_0001);
    first.close();
    expect(mapping.load32(0)).toBe(0x6006_0001);
    const second = openDevice(group, pci.bdf);
    expect(second.region(2).read32(0)).toBe(0x6006_0001);
    mapping.store32(0, 0x6006_0002);
    expect(second.region(2).read32(0)).toBe(0x6006_0002);
  },
);

test(
  'device.mmap.fork',
  'a child inherits the mapping, and uses it independently of its parent',
  { covers: [], source: FAULT, devices: ['ivshmem', 'igb', 'edu'] },
  ({ device, map, role }) => {
    enableDevice(device);
    const { region, offset } = scratchRegisters(role);
    const mapping = map(device.region(region));
    const at = mapping.address + BigInt(offset);
    mapping.store32(offset, 0x1000_0000);
    const program = new Program();
    let load!: ReturnType<Program['load']>;
    let store!: ReturnType<Program['store']>;
    const child = program.fork(() => {
      load = program.load(32, at);
      store = program.store(32, at, 0x2000_0000);
    });
    const wait = program.syscall('wait4', child, 0, 0, 0);
    const after = program.load(32, at);
    program.run();
    expect(program.result(wait)).toBe(program.result(child));
    expect([program.result(load), program.value(load)]).toEqual([0, 0x1000_0000n]);
    expect(program.result(store)).toBe(0);
    expect(program.value(after)).toBe(0x2000_0000n);
    mapping.store32(offset, 0);
  },
);

test(
  'device.mmap.exec',
  'a program that is executed inherits the fd of an open device, and no mapping',
  { covers: [], source: [MMAP, 'drivers/vfio/vfio_main.c vfio_device_fops'], device: 'igb' },
  ({ device, group, actor }) => {
    enableDevice(device);
    const { region: index, offset: scratch } = scratchRegisters('igb');
    const { offset } = device.region(index).info;
    const user = actor({ inheritFds: [device.fd] });
    const mapIn = (program: Program) =>
      program.syscall('mmap', 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device.fd, at);
    const at = offset + BigInt(scratch & -PAGE);
    const inPage = BigInt(scratch % PAGE);

    const first = new Program();
    const mapped = mapIn(first);
    user.run(first);
    const address = first.address(mapped);
    const storing = new Program();
    const store = storing.store(32, address + inPage, 0x6006_0001);
    user.run(storing);
    expect(storing.result(store)).toBe(0);
    expect(vmFlags(address, user.pid)).toContain('pf');
    device.close();

    execAgain(user);
    expect(vmFlags(address, user.pid) ?? []).not.toContain('pf');
    const second = new Program();
    const bytes = second.data(4);
    const read = second.syscall('pread', device.fd, bytes, 4, at + inPage);
    const again = mapIn(second);
    user.run(second);
    expect(second.result(read)).toBe(4);
    expect(bytes.bytes.readUInt32LE(), 'the device was not closed meanwhile').toBe(0x6006_0001);
    const loading = new Program();
    const load = loading.load(32, second.address(again) + inPage);
    user.run(loading);
    expect(loading.value(load)).toBe(0x6006_0001n);

    expect(group.tryUnsetContainer()).toFailWith('EBUSY');
    user.close();
    expect(group.tryUnsetContainer()).toSucceed(0);
  },
);

test(
  'device.mmap.dontfork',
  'a mapping that is not to be inherited is not, and I/O memory cannot be made inheritable again',
  { covers: [], source: `${MMAP}: VM_IO`, device: 'ivshmem' },
  ({ device, map }) => {
    enableDevice(device);
    const mapping = map(device.region(2), { size: 4096n });
    expect(sys.madvise(mapping.address, 4096, MADV_DONTFORK)).toBe(0);
    const program = new Program();
    let load!: ReturnType<Program['load']>;
    const child = program.fork(() => {
      load = program.load(32, mapping.address);
    });
    program.syscall('wait4', child, 0, 0, 0);
    program.run();
    expect(program.result(load)).toBe(-14);
    expect(sys.madvise(mapping.address, 4096, MADV_DOFORK)).toBe(-22);
    expect(vmFlags(mapping.address)).toContain('dc');
    mapping.store32(0, 0);
  },
);

test(
  'device.mmap.foreign-access',
  'device memory cannot be reached through the kernel on behalf of another address',
  { covers: [], source: `${MMAP}: VM_IO | VM_PFNMAP`, device: 'ivshmem' },
  ({ device, map }) => {
    enableDevice(device);
    const mapping = map(device.region(2), { size: 4096n });
    mapping.store32(0, 0x3c3c_3c3c);
    const program = new Program();
    const target = program.data(4);
    const vector = (address: ReturnType<Program['data']> | bigint) => {
      const iovec = program.data(16);
      if (typeof address === 'bigint') iovec.bytes.writeBigUInt64LE(address, 0);
      iovec.bytes.writeBigUInt64LE(4n, 8);
      return iovec;
    };
    const local = vector(0n);
    const remote = vector(mapping.address);
    const self = program.syscall('getpid');
    program.store(64, local, target);
    const read = program.syscall('process_vm_readv', self, local, 1, remote, 1, 0);
    program.run();
    expect(program.result(read)).toBe(-14);
    expect(target.bytes.readUInt32LE()).toBe(0);
    mapping.store32(0, 0);
  },
);
