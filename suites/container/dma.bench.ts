/** What mapping memory for DMA costs, over all that it may depend on. */
import {
  CDEV,
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  IOMMU_IOAS_UNMAP,
  MADV_DONTNEED,
  KernelError,
  Program,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  addMapDma,
  addUnmapDma,
  bench,
  enableDevice,
  hugePages,
  iommu_ioas_map,
  iommu_ioas_unmap,
  scatteredMemory,
  vfio_iommu_type1_dma_map,
  type Container,
  type DmaMemory,
  type MemoryKind,
  type Measure,
  type Reference,
  type Requirement,
} from '../../harness/testing/index.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const PAGE = 4096;
const IOVA = 0x1_0000_0000n;
const covers = [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA];
const operations = ['map', 'unmap'];

/** `64MiB` */
function sizeName(bytes: number): string {
  if (bytes >= GIB) return `${bytes / GIB}GiB`;
  return bytes >= MIB ? `${bytes / MIB}MiB` : `${bytes / KIB}KiB`;
}

interface Area {
  address: bigint;
  size: number;
}

/** Options of every benchmark here: the axes are the same, so that plots find them. */
function options(size: number, more: Record<string, string | number>, pageSize = PAGE) {
  return {
    covers,
    operations,
    parameters: { size, state: 'warm', iommu: 'type1v2', threads: 1, ...more },
    units: { bytes: size, pages: Math.ceil(size / pageSize), mappings: 1 },
  };
}

/** Maps and unmaps an area in a container; cold: its pages are given back before. */
function mapAndUnmap(
  measure: Measure,
  fd: number,
  area: Area,
  { cold = false, threads = 1, reference }: Variant = {},
): void {
  const size = BigInt(area.size);
  measure(
    (program, timed, thread) => {
      const iova = IOVA + BigInt(thread) * size;
      const vaddr = area.address + BigInt(thread * area.size);
      if (cold) program.syscall('madvise', vaddr, area.size, MADV_DONTNEED);
      timed('map', addMapDma(program, fd, { iova, vaddr, size }));
      timed('unmap', addUnmapDma(program, fd, { iova, size }).ref);
    },
    { threads, reference, ...(reference && { leastSamples: 5 }) },
  );
}

interface Variant {
  cold?: boolean;
  threads?: number;
  reference?: Reference | undefined;
}

/** Those that the C program measures too; where a layout of pages matters, with the same pages. */
const WITH_REFERENCE = ['4k.4KiB', 'thp.2MiB', 'memfd.64MiB'];

function referenceFor(container: Container, { size, kind, fd }: DmaMemory): Reference {
  return {
    operation: 'map',
    args: ['map-dma', size, fd < 0 ? kind : 'fd'],
    fds: fd < 0 ? [container.fd] : [container.fd, fd],
  };
}

interface Kind {
  kind: MemoryKind;
  pageSize: number;
  warm: number[];
  cold: number[];
  needs?: (size: number) => Requirement[];
}

const KINDS: Kind[] = [
  {
    kind: '4k',
    pageSize: PAGE,
    warm: [4 * KIB, 64 * KIB, 2 * MIB, 64 * MIB, 512 * MIB],
    cold: [4 * KIB, 64 * KIB, 2 * MIB, 64 * MIB],
  },
  { kind: 'thp', pageSize: 2 * MIB, warm: [2 * MIB, 64 * MIB, GIB], cold: [2 * MIB, 64 * MIB] },
  {
    kind: 'hugetlb-2m',
    pageSize: 2 * MIB,
    warm: [2 * MIB, 64 * MIB],
    cold: [2 * MIB, 64 * MIB],
    needs: (size) => [hugePages(2048, size / (2 * MIB))],
  },
  {
    kind: 'hugetlb-1g',
    pageSize: GIB,
    warm: [GIB],
    cold: [],
    needs: () => [hugePages(1024 * KIB, 1)],
  },
  { kind: 'memfd', pageSize: PAGE, warm: [4 * KIB, 64 * MIB], cold: [] },
  { kind: 'file', pageSize: PAGE, warm: [4 * KIB, 64 * MIB], cold: [] },
];

for (const { kind, pageSize, warm, cold, needs = () => [] } of KINDS) {
  for (const [state, sizes] of Object.entries({ warm, cold })) {
    for (const size of sizes) {
      const name = `${kind}.${sizeName(size)}`;
      bench(
        `container.dma.${name}.${state}`,
        `mapping ${sizeName(size)} of ${kind} memory that is ${state === 'warm' ? 'populated' : 'not populated'}`,
        { ...options(size, { pages: kind, state }, pageSize), needs: needs(size) },
        ({ container, memory }, measure) => {
          const area = memory({ size, kind });
          const compared = state === 'warm' && WITH_REFERENCE.includes(name);
          mapAndUnmap(measure, container.fd, area, {
            cold: state === 'cold',
            reference: compared ? referenceFor(container, area) : undefined,
          });
        },
      );
    }
  }
}

for (const size of [2 * MIB, 16 * MIB]) {
  bench(
    `container.dma.scattered.${sizeName(size)}.warm`,
    `mapping ${sizeName(size)} of small pages of which no two neighbours are contiguous`,
    options(size, { pages: 'scattered' }),
    (context, measure) =>
      mapAndUnmap(measure, context.container.fd, scatteredMemory(context, size / PAGE)),
  );
}

for (const size of [4 * KIB, 8 * MIB]) {
  bench(
    `container.dma.bar.${sizeName(size)}.warm`,
    `mapping ${sizeName(size)} of a device's memory: peer to peer`,
    { ...options(size, { pages: 'bar' }), uses: ['ivshmem'] },
    (context, measure) => {
      const { device } = context.openRole('ivshmem');
      enableDevice(device);
      const { address } = context.map(device.region(2));
      mapAndUnmap(measure, context.container.fd, { address, size });
    },
  );
}

for (const threads of [2, 4]) {
  for (const size of [4 * KIB, 2 * MIB]) {
    bench(
      `container.dma.4k.${sizeName(size)}.threads-${threads}`,
      `mapping ${sizeName(size)} of small pages by ${threads} threads at once`,
      options(size, { pages: '4k', threads }),
      ({ container, memory }, measure) => {
        const { address } = memory({ size: size * threads, kind: '4k' });
        mapAndUnmap(measure, container.fd, { address, size }, { threads });
      },
    );
  }
}

for (const size of [4 * KIB, 64 * MIB]) {
  bench(
    `container.dma.type1.4k.${sizeName(size)}.warm`,
    `mapping ${sizeName(size)} of small pages in a container of the older type`,
    options(size, { pages: '4k', iommu: 'type1' }),
    ({ containerOfType, memory }, measure) =>
      mapAndUnmap(measure, containerOfType(VFIO_TYPE1_IOMMU).fd, memory({ size, kind: '4k' })),
  );
}

for (const { kind, size } of [
  { kind: '4k', size: 4 * KIB },
  { kind: '4k', size: 64 * MIB },
  { kind: 'thp', size: 2 * MIB },
] as const) {
  bench(
    `container.dma.iommufd.${kind}.${sizeName(size)}.warm`,
    `mapping ${sizeName(size)} of ${kind} memory in an address space of iommufd`,
    { ...options(size, { pages: kind, iommu: 'iommufd' }), needs: [CDEV] },
    (context, measure) => {
      const io = context.iommufd();
      const device = context.openCdev();
      device.bind(io);
      const ioas = io.allocIoas();
      device.tryAttach(ioas).must();
      ioasMapAndUnmap(measure, io.fd, ioas, context.memory({ size, kind }));
    },
  );
}

function ioasMapAndUnmap(measure: Measure, fd: number, ioas: number, area: Area): void {
  const length = BigInt(area.size);
  measure((program, timed) => {
    const map = iommu_ioas_map.encode({
      size: iommu_ioas_map.size,
      flags: IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
      ioas_id: ioas,
      __reserved: 0,
      user_va: area.address,
      length,
      iova: IOVA,
    });
    const unmap = iommu_ioas_unmap.encode({
      size: iommu_ioas_unmap.size,
      ioas_id: ioas,
      iova: IOVA,
      length,
    });
    timed('map', program.syscall('ioctl', fd, IOMMU_IOAS_MAP.request, program.data(map)));
    timed('unmap', program.syscall('ioctl', fd, IOMMU_IOAS_UNMAP.request, program.data(unmap)));
  });
}

/** Maps the same page again and again, behind the area that is measured. */
function mapMany(fd: number, vaddr: bigint, count: number): void {
  const program = new Program().stopOnError();
  const argument = program.data(
    vfio_iommu_type1_dma_map.encode({
      argsz: vfio_iommu_type1_dma_map.size,
      flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
      vaddr,
      iova: IOVA + BigInt(GIB),
      size: BigInt(PAGE),
    }),
  );
  const iova = argument.at(vfio_iommu_type1_dma_map.offsetof('iova'));
  const first = program.syscall('ioctl', fd, VFIO_IOMMU_MAP_DMA.request, argument);
  program.store(64, iova, program.load(64, iova).plus(PAGE));
  const loop = program.repeat(first, count);
  if (program.run().result(loop) < 0) throw new KernelError(program.result(loop), 'many mappings');
}

for (const present of [0, 100, 10_000, 60_000]) {
  bench(
    `container.dma.beside-${present}`,
    `mapping a small page in a container that holds ${present} mappings`,
    options(4 * KIB, { pages: '4k', present }),
    ({ container, memory }, measure) => {
      const pages = memory({ size: PAGE, kind: '4k' });
      if (present > 0) mapMany(container.fd, pages.address, present);
      mapAndUnmap(measure, container.fd, pages);
    },
  );
}
