import {
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_ROM_REGION_INDEX,
  VFIO_PCI_VGA_REGION_INDEX,
  VFIO_REGION_INFO_FLAG_MMAP,
  enableDevice,
  expect,
  scratchRegisters,
  sys,
  test,
  vmFlags,
} from '../../../harness/testing/index.ts';

const MMAP = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_mmap()';
const RW = PROT_READ | PROT_WRITE;
const PAGE = 4096n;

test(
  'device.mmap.flag',
  'a BAR that says it can be mapped can be, whole; any other region cannot',
  {
    covers: [],
    source: MMAP,
    devices: [
      'edu',
      'pci-testdev',
      'ivshmem',
      'e1000e',
      'igb',
      'nvme',
      'virtio-net',
      'vga',
      'vmxnet3',
      'bridge-child-a',
      'bridge-child-b',
    ],
    peer: ['S4', 'L5', 'A7'],
  },
  ({ device }) => {
    for (let index = 0; index <= VFIO_PCI_CONFIG_REGION_INDEX; index++) {
      const region = device.region(index);
      const size = (region.info.size + PAGE - 1n) & -PAGE || PAGE;
      const answer = region.tryMap({ size });
      if (region.info.flags & VFIO_REGION_INFO_FLAG_MMAP) {
        expect(answer, `region ${index}`).toSucceed();
        answer.value!.unmap();
      } else {
        expect(answer, `region ${index}`).toFailWith('EINVAL');
      }
    }
  },
);

test(
  'device.mmap.bounds',
  'a mapping lies within the pages of the BAR: the last page is allowed, the next is not',
  { covers: [], source: MMAP, devices: ['edu', 'igb', 'ivshmem', 'pci-testdev', 'nvme'] },
  ({ device }) => {
    for (const index of [0, 1, 2, 3, 4, 5]) {
      const region = device.region(index);
      if (!(region.info.flags & VFIO_REGION_INFO_FLAG_MMAP)) continue;
      const size = (region.info.size + PAGE - 1n) & -PAGE;
      const tryMap = (offset: bigint, length: bigint) => {
        const answer = region.tryMap({ offset, size: length });
        answer.value?.unmap();
        return answer;
      };
      expect(tryMap(0n, size), `BAR ${index}`).toSucceed();
      expect(tryMap(0n, size + 1n)).toFailWith('EINVAL');
      expect(tryMap(0n, size + PAGE)).toFailWith('EINVAL');
      expect(tryMap(size - PAGE, PAGE)).toSucceed();
      expect(tryMap(size - PAGE, 2n * PAGE)).toFailWith('EINVAL');
      expect(tryMap(size, PAGE)).toFailWith('EINVAL');
      expect(tryMap((1n << 40n) - PAGE, PAGE)).toFailWith('EINVAL');
      expect(tryMap(2048n, PAGE)).toFailWith('EINVAL');
    }
  },
);

test(
  'device.mmap.length',
  'a mapping need not be a multiple of a page long, and cannot have no length',
  { covers: [], source: MMAP },
  ({ device }) => {
    const region = device.region(0);
    const one = region.tryMap({ size: 1n });
    expect(one).toSucceed();
    one.value!.unmap();
    expect(region.tryMap({ size: 0n })).toFailWith('EINVAL');
  },
);

test(
  'device.mmap.offset',
  'a mapping that begins in the middle of a BAR shows that part of it',
  { covers: [], source: 'drivers/vfio/pci/vfio_pci_core.c vma_to_pfn()', device: 'ivshmem' },
  ({ device, map }) => {
    enableDevice(device);
    const region = device.region(2);
    const pages = [0, 1, 2, 100, 255];
    for (const page of pages) region.write32(page * 4096 + 8, 0x1000 + page);
    for (const page of pages) {
      const mapping = map(region, { offset: BigInt(page) * PAGE, size: PAGE });
      expect(mapping.load32(8), `page ${page}`).toBe(0x1000 + page);
      mapping.store32(12, 0x2000 + page);
      expect(region.read32(page * 4096 + 12)).toBe(0x2000 + page);
    }
    const middle = map(region, { offset: 99n * PAGE, size: 4n * PAGE });
    expect(middle.load32(4096 + 8)).toBe(0x1064);
    expect(middle.load32(4096 + 12)).toBe(0x2064);
  },
);

test(
  'device.mmap.each-bar',
  'each BAR is mapped at its own place: its mapping agrees with reads of the same region',
  { covers: [], source: 'drivers/vfio/pci/vfio_pci_core.c vma_to_pfn()', device: 'vga' },
  ({ device, map }) => {
    enableDevice(device);
    const frame = device.region(0);
    const registers = device.region(2);
    frame.write32(0x10_0000, 0x1357_9bdf);
    expect(map(frame, { offset: 0x10_0000n, size: PAGE }).load32(0)).toBe(0x1357_9bdf);
    // bochs display interface at 0x500 (docs/specs/standard-vga.rst): the id is 0xb0c?.
    const mapped = map(registers, { size: PAGE });
    expect(mapped.load(16, 0x500) & 0xfff0n).toBe(0xb0c0n);
    expect(registers.read16(0x500)).toBe(Number(mapped.load(16, 0x500)));
    frame.write32(0x10_0000, 0);
  },
);

test(
  'device.mmap.other-regions',
  'configuration space, ROM, VGA and what lies beyond cannot be mapped at any size or protection',
  { covers: [], source: MMAP, devices: ['e1000e', 'vga'] },
  ({ device }) => {
    const indexes = [
      VFIO_PCI_ROM_REGION_INDEX,
      VFIO_PCI_CONFIG_REGION_INDEX,
      VFIO_PCI_VGA_REGION_INDEX,
      VFIO_PCI_NUM_REGIONS,
      VFIO_PCI_NUM_REGIONS + 1,
      1000,
    ];
    for (const index of indexes) {
      for (const prot of [PROT_READ, RW]) {
        const result = sys.mmap(0n, 4096, prot, MAP_SHARED, device.fd, BigInt(index) << 40n);
        expect(result, `region ${index}`).toBe(-22n);
      }
    }
  },
);

test(
  'device.mmap.private',
  'device memory cannot be mapped privately',
  { covers: [], source: `${MMAP}: VM_SHARED`, devices: ['edu', 'ivshmem'] },
  ({ device }) => {
    const region = device.region(0);
    for (const prot of [PROT_READ, RW]) {
      const answer = region.tryMap({ size: PAGE, flags: MAP_PRIVATE, prot });
      expect(answer).toFailWith('EINVAL');
    }
  },
);

test(
  'device.mmap.protection',
  'a mapping allows what its protection says, and mprotect changes it',
  { covers: [], source: MMAP, devices: ['edu', 'ivshmem', 'igb'] },
  ({ device, map, role }) => {
    enableDevice(device);
    const scratch = scratchRegisters(role);
    const region = device.region(scratch.region);
    const page = BigInt(scratch.offset) & -PAGE;
    const offset = scratch.offset % 4096;
    region.write32(scratch.offset, 0x5555_0000);
    const mapping = map(region, { offset: page, size: PAGE, prot: PROT_READ });
    expect(mapping.load32(offset)).toBe(0x5555_0000);
    expect(mapping.tryStore(32, offset, 1)).toFailWith('EFAULT');
    expect(sys.mprotect(mapping.address, 4096, RW)).toBe(0);
    mapping.store32(offset, 0xaaaa_0000);
    expect(region.read32(scratch.offset)).toBe(0xaaaa_0000);
    expect(sys.mprotect(mapping.address, 4096, PROT_NONE)).toBe(0);
    expect(mapping.tryLoad(32, offset)).toFailWith('EFAULT');
    expect(sys.mprotect(mapping.address, 4096, PROT_READ)).toBe(0);
    expect(mapping.load32(offset)).toBe(0xaaaa_0000);
    region.write32(scratch.offset, 0);
  },
);

test(
  'device.mmap.write-only',
  'a mapping for writing alone takes stores',
  { covers: [], source: MMAP, device: 'ivshmem' },
  ({ device, map }) => {
    enableDevice(device);
    const region = device.region(2);
    const mapping = map(region, { size: PAGE, prot: PROT_WRITE });
    mapping.store32(64, 0x7777_1234);
    expect(region.read32(64)).toBe(0x7777_1234);
    region.write32(64, 0);
  },
);

test(
  'device.mmap.flags',
  'the memory area is marked as I/O without pages, not to grow and not to be dumped',
  {
    covers: [],
    source: `${MMAP}: VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP`,
    devices: ['edu', 'ivshmem'],
  },
  ({ device, map }) => {
    const mapping = map(device.region(0), { size: PAGE });
    const flags = vmFlags(mapping.address);
    expect(flags).toEqual(expect.arrayContaining(['rd', 'wr', 'sh', 'io', 'pf', 'de', 'dd']));
    expect(flags).not.toContain('ex');
  },
);

test(
  'device.mmap.twice',
  'two mappings of the same place, also through two fds, show the same registers',
  { covers: [], source: MMAP, devices: ['ivshmem', 'igb', 'edu'] },
  ({ device, group, openDevice, map, role }) => {
    enableDevice(device);
    const { region: index, offset } = scratchRegisters(role);
    const first = map(device.region(index));
    const second = map(device.region(index));
    const other = map(openDevice(group).region(index));
    first.store32(offset, 0x4242_0000);
    expect([second.load32(offset), other.load32(offset)]).toEqual([0x4242_0000, 0x4242_0000]);
    first.unmap();
    other.store32(offset, 0x2424_0000);
    expect(second.load32(offset)).toBe(0x2424_0000);
    second.store32(offset, 0);
  },
);
