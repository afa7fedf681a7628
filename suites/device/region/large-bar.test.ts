import { existsSync } from 'node:fs';
import {
  MAP_FIXED,
  MAP_SHARED,
  Mapping,
  PROT_READ,
  PROT_WRITE,
  Program,
  enableDevice,
  expect,
  minorFaults,
  reserveAddresses,
  runParallel,
  setMemoryEnabled,
  sys,
  test,
  type Region,
  type Requirement,
  type TestContext,
} from '../../../harness/testing/index.ts';

const FAULT = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_mmap_huge_fault()';
const PAGE = 4096n;
const MIB = 1n << 20n;
const GIB = 1n << 30n;
/** Region of ivshmem with 8 MiB of memory, and of pci-testdev with 8 GiB that hold nothing. */
const BAR = 2;

const HUGE_MAPPINGS: Requirement = {
  name: 'transparent huge pages',
  missing: () =>
    existsSync('/sys/kernel/mm/transparent_hugepage')
      ? null
      : 'the kernel is built without transparent huge pages: BARs are mapped page by page',
};

/** Maps a part of a region `shift` bytes above a multiple of `alignment`. */
function mapAt(
  { defer }: Pick<TestContext, 'defer'>,
  fd: number,
  region: Region,
  { offset = 0n, size = region.info.size, alignment = 2n * MIB, shift = 0n } = {},
): Mapping {
  const area = reserveAddresses(size + shift, alignment);
  defer(area.release);
  const address = area.address + shift;
  const prot = PROT_READ | PROT_WRITE;
  const at = sys.mmap(address, size, prot, MAP_SHARED | MAP_FIXED, fd, region.info.offset + offset);
  expect(at).toBe(address);
  return new Mapping(address, size);
}

/** Gives the first word of every page of the region its number, in one program. */
function numberPages(fd: number, region: Region): void {
  const program = new Program();
  for (let page = 0n; page < region.info.size / PAGE; page++) {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(0x1000_0000 + Number(page));
    program.syscall('pwrite', fd, program.data(word), 4, region.info.offset + page * PAGE);
  }
  program.run();
}

/** The numbers of the pages as the mapping shows them, visited in the order given. */
function pagesSeen(mapping: Mapping, order: readonly number[]): number[] {
  const program = new Program();
  const loads = order.map((page) => program.load(32, mapping.address + BigInt(page) * PAGE));
  program.run();
  return loads.map((load) =>
    program.result(load) === 0 ? Number(program.value(load)) - 0x1000_0000 : program.result(load),
  );
}

const upwards = Array.from({ length: 2048 }, (_, page) => page);
const downwards = upwards.toReversed();
/** Every page once, far from the one before: 1021 has no factor in common with 2048. */
const scattered = upwards.map((index) => (index * 1021 + 700) % 2048);

for (const [name, options] of [
  ['aligned', {}],
  ['misaligned-address', { shift: PAGE }],
  ['aligned-to-1g', { alignment: GIB }],
] as const) {
  test(
    `device.large-bar.content.${name}`,
    'every page of a large BAR is mapped at its place, in whatever order the pages are touched',
    { covers: [], source: FAULT, device: 'ivshmem', peer: ['S21', 'A10'] },
    (context) => {
      const { device } = context;
      enableDevice(device);
      const region = device.region(BAR);
      expect(region.info.size).toBe(8n * MIB);
      numberPages(device.fd, region);
      for (const order of [upwards, downwards, scattered]) {
        const mapping = mapAt(context, device.fd, region, options);
        expect(pagesSeen(mapping, order)).toEqual(order);
        mapping.unmap();
      }
    },
  );
}

test(
  'device.large-bar.content.offset',
  'a mapping that begins or ends within a huge page shows the right pages',
  { covers: [], source: `${FAULT}: is_aligned_for_order()`, device: 'ivshmem' },
  (context) => {
    const { device } = context;
    enableDevice(device);
    const region = device.region(BAR);
    numberPages(device.fd, region);
    const cases = [
      { first: 1, count: 2047 },
      { first: 511, count: 514 },
      { first: 512, count: 1536 },
      { first: 0, count: 1025 },
      { first: 1535, count: 513 },
    ];
    for (const { first, count } of cases) {
      for (const shift of [0n, BigInt(first % 512) * PAGE]) {
        const mapping = mapAt(context, device.fd, region, {
          offset: BigInt(first) * PAGE,
          size: BigInt(count) * PAGE,
          shift,
        });
        const order = [count - 1, 0, ...upwards.slice(1, count - 1)];
        const seen = pagesSeen(mapping, order);
        expect(seen, `${count} pages from ${first}`).toEqual(order.map((page) => page + first));
        mapping.unmap();
      }
    }
  },
);

for (const [name, options] of [
  ['aligned', {}],
  ['misaligned-by-a-page', { shift: PAGE }],
  ['misaligned-by-2m', { shift: 2n * MIB }],
  ['offset', { offset: 2n * MIB, size: 2n * GIB - 2n * MIB }],
] as const) {
  test(
    `device.large-bar.gigabytes.${name}`,
    'where a BAR of 2 GiB is mapped by the GiB each page is at its place, and in whatever order they are touched',
    {
      covers: [],
      source: [`${FAULT}: PUD_ORDER`, 'include/linux/vfio_pci_core.h is_aligned_for_order()'],
      device: 'ivshmem-2g',
    },
    (context) => {
      const { device } = context;
      enableDevice(device);
      const region = device.region(BAR);
      expect(region.info.size).toBe(2n * GIB);
      const { offset: first = 0n } = options as { offset?: bigint };
      const places = [
        0n,
        MIB,
        2n * MIB,
        GIB - PAGE,
        GIB,
        GIB + 2n * MIB,
        GIB + 4n * MIB - PAGE,
        2n * GIB - 2n * MIB,
        2n * GIB - PAGE,
      ].filter((place) => place >= first);
      places.forEach((place, index) => region.write32(Number(place), 0x2000_0000 + index));
      for (const order of [places, places.toReversed()]) {
        const mapping = mapAt(context, device.fd, region, { alignment: GIB, ...options });
        for (const place of order) {
          const wanted = 0x2000_0000 + places.indexOf(place);
          expect(mapping.load32(Number(place - first)), `at ${place}`).toBe(wanted);
        }
        mapping.unmap();
      }
    },
  );
}

test(
  'device.large-bar.split',
  'a hole made in a large mapping after it was touched leaves all other pages in their places',
  { covers: [], source: FAULT, device: 'ivshmem' },
  (context) => {
    const { device } = context;
    enableDevice(device);
    const region = device.region(BAR);
    numberPages(device.fd, region);
    const mapping = mapAt(context, device.fd, region);
    expect(pagesSeen(mapping, upwards)).toEqual(upwards);
    const hole = 700;
    expect(sys.munmap(mapping.address + BigInt(hole) * PAGE, Number(PAGE))).toBe(0);
    expect(sys.mprotect(mapping.address + 1300n * PAGE, 4096, PROT_READ)).toBe(0);
    expect(pagesSeen(mapping, upwards)).toEqual(
      upwards.map((page) => (page === hole ? -14 : page)),
    );
    expect(mapping.tryStore(32, 1300n * PAGE, 0)).toFailWith('EFAULT');
    mapping.store32(1301 * 4096, 0x1000_0000 + 1301);
    mapping.unmap();
  },
);

test(
  'device.large-bar.disabled',
  'disabling memory takes away all of a large mapping, and each page comes back at its place',
  { covers: [], source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_zap_bars()', device: 'ivshmem' },
  (context) => {
    const { device } = context;
    enableDevice(device);
    const region = device.region(BAR);
    numberPages(device.fd, region);
    const mapping = mapAt(context, device.fd, region);
    expect(pagesSeen(mapping, upwards)).toEqual(upwards);
    setMemoryEnabled(device, false);
    expect(pagesSeen(mapping, scattered)).toEqual(scattered.map(() => -5));
    setMemoryEnabled(device, true);
    expect(pagesSeen(mapping, scattered)).toEqual(scattered);
    mapping.unmap();
  },
);

test(
  'device.large-bar.fault-count',
  'a large BAR is not faulted in page by page',
  {
    covers: [],
    source: FAULT,
    fixes: ['f9e54c3a2f5b (huge faults of BARs)'],
    device: 'ivshmem',
    needs: [HUGE_MAPPINGS],
  },
  (context) => {
    const { device } = context;
    enableDevice(device);
    const region = device.region(BAR);
    const mapping = mapAt(context, device.fd, region);
    mapping.load32(0);
    const faults = minorFaults((program) => {
      for (let page = 1n; page < 2048n; page++) program.load(32, mapping.address + page * PAGE);
    });
    expect(faults).toBeLessThan(2048 / 8);
    mapping.unmap();
  },
);

for (const [name, size, alignment] of [
  ['2m', 2n * MIB, 2n * MIB],
  ['1g', GIB, GIB],
  ['4g', 4n * GIB, GIB],
] as const) {
  test(
    `device.large-bar.race.${name}`,
    'two threads that fault both ends of a part of a large BAR at once both get there',
    {
      covers: [],
      source: FAULT,
      device: 'pci-testdev',
      peer: ['A12'],
      fixes: ['09dfc8a5f2ce (VM_FAULT_OOM of faults that race)'],
    },
    (context) => {
      const { device } = context;
      enableDevice(device);
      const region = device.region(BAR);
      expect(region.info.size).toBe(8n * GIB);
      // Before Linux 6.12 each fault maps all pages: a million of them.
      const rounds = size > GIB ? 3 : 8;
      for (let round = 0; round < rounds; round++) {
        const mapping = mapAt(context, device.fd, region, { size, alignment });
        const ends = [mapping.address, mapping.address + size - 4n].map((address) => {
          const program = new Program();
          const loads = [program.load(32, address), program.load(32, address)];
          return { program, loads };
        });
        runParallel(ends.map(({ program }) => program));
        for (const { program, loads } of ends) {
          expect(loads.map((load) => program.result(load))).toEqual([0, 0]);
        }
        mapping.unmap();
      }
    },
  );
}

test(
  'device.large-bar.beyond',
  'the last page of 8 GiB can be mapped and touched, one more is refused',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_mmap()',
    device: 'pci-testdev',
  },
  ({ device, map }) => {
    enableDevice(device);
    const region = device.region(BAR);
    const last = map(region, { offset: 8n * GIB - PAGE, size: PAGE });
    expect(last.tryLoad(32, 4092)).toSucceed();
    expect(region.tryRead(8n * GIB - 4n, 8)).toSucceed(4);
    expect(region.tryRead(8n * GIB, 4)).toFailWith('EINVAL');
    expect(region.tryMap({ offset: 8n * GIB - PAGE, size: 2n * PAGE })).toFailWith('EINVAL');
    expect(region.tryMap({ size: 8n * GIB + PAGE })).toFailWith('EINVAL');
  },
);
