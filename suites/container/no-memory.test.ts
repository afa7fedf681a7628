import {
  AT_FDCWD,
  FAILSLAB,
  O_CLOEXEC,
  O_RDWR,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  addDirtyPages,
  addMapDma,
  addUnmapDma,
  expect,
  mappingState,
  scatteredMemory,
  setBits,
  startDirtyTracking,
  stopDirtyTracking,
  sys,
  test,
  tryGetDirtyBitmap,
  vfio_iommu_type1_info,
  withEachFailing,
  type Arg,
  type Program,
  type Ref,
} from '../../harness/testing/index.ts';

const P = 4096n;
const IOVA = 0x100000n;
const ENOMEM = -12;
const ATTACH = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group()';
const needs = [FAILSLAB];

const ioctlWith =
  (fd: Arg, request: number, argument: Buffer | number) =>
  (program: Program): Ref =>
    program.syscall(
      'ioctl',
      fd,
      request,
      typeof argument === 'number' ? argument : program.data(argument),
    );

test(
  'container.no-memory.open',
  'a container that finds no memory is not opened',
  { source: 'drivers/vfio/container.c vfio_fops_open()', needs },
  (context) => {
    const path = '/dev/vfio/vfio';
    const refused = withEachFailing(
      context,
      (program) => program.syscall('openat', AT_FDCWD, program.data(path), O_RDWR | O_CLOEXEC, 0),
      (result) => {
        if (result >= 0) sys.close(result);
        else expect(result).toBe(ENOMEM);
      },
    );
    expect(refused).toBeGreaterThan(0);
  },
);

test(
  'container.no-memory.map',
  'a mapping for which there is no memory is refused and leaves nothing',
  {
    covers: [VFIO_IOMMU_MAP_DMA.fails('ENOMEM')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()',
    needs,
  },
  (context) => {
    const { container } = context;
    const ram = scatteredMemory(context, 4);
    const size = BigInt(ram.size);
    const before = mappingState(container);
    const refused = withEachFailing(
      context,
      (program) => addMapDma(program, container.fd, { iova: IOVA, vaddr: ram.address, size }),
      (result) => {
        expect([0, ENOMEM]).toContain(result);
        expect(container.unmapDma({ iova: IOVA, size })).toBe(result < 0 ? 0n : size);
        expect(mappingState(container)).toEqual(before);
      },
    );
    expect(refused).toBeGreaterThan(0);
  },
);

test(
  'container.no-memory.unmap',
  'an unmap needs no memory: it unmaps and releases everything all the same',
  {
    covers: [VFIO_IOMMU_UNMAP_DMA],
    source: 'drivers/vfio/vfio_iommu_type1.c unmap_unpin_slow()',
    needs,
  },
  (context) => {
    const { container } = context;
    const ram = scatteredMemory(context, 6);
    const map = { iova: IOVA, vaddr: ram.address, size: BigInt(ram.size) };
    const before = mappingState(container);
    container.mapDma(map);
    withEachFailing(
      context,
      (program) => addUnmapDma(program, container.fd, map).ref,
      (result) => {
        expect(result).toBe(0);
        expect(mappingState(container)).toEqual(before);
        container.mapDma(map);
      },
    );
    expect(container.unmapDma(map)).toBe(map.size);
  },
);

test(
  'container.no-memory.get-info',
  'information for which there is no memory is refused, and given the next time',
  {
    covers: [VFIO_IOMMU_GET_INFO],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_get_info()',
    needs,
  },
  (context) => {
    const { container } = context;
    const info = container.getInfo();
    const { argsz } = info;
    const argument = vfio_iommu_type1_info.encode(
      { argsz, flags: 0, iova_pgsizes: 0n, cap_offset: 0 },
      argsz,
    );
    const refused = withEachFailing(
      context,
      ioctlWith(container.fd, VFIO_IOMMU_GET_INFO.request, argument),
      (result) => {
        expect([0, ENOMEM]).toContain(result);
        expect(container.getInfo()).toEqual(info);
      },
    );
    expect(refused).toBeGreaterThan(0);
  },
);

test(
  'container.no-memory.dirty-tracking',
  'dirty tracking for which there is no memory does not start, and starts the next time',
  {
    covers: [VFIO_IOMMU_DIRTY_PAGES],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_dma_bitmap_alloc_all()',
    needs,
  },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 4096, kind: '4k' });
    for (const page of [0n, 2n, 4n]) {
      container.mapDma({ iova: IOVA + page * P, vaddr: ram.address, size: P });
    }
    const bitmap = () => tryGetDirtyBitmap(container, { iova: IOVA, size: 64n * P });
    const refused = withEachFailing(
      context,
      (program) => addDirtyPages(program, container.fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_START),
      (result) => {
        expect([0, ENOMEM]).toContain(result);
        if (result < 0) {
          expect(bitmap()).toFailWith('EINVAL');
        } else {
          expect(setBits(bitmap().get().bitmap)).toEqual([0, 2, 4]);
          stopDirtyTracking(container);
        }
      },
    );
    expect(refused).toBe(3);
  },
);

test(
  'container.no-memory.map-while-tracking',
  'a mapping whose pages cannot be tracked for lack of memory is not made',
  {
    covers: [VFIO_IOMMU_MAP_DMA.fails('ENOMEM')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_dma_bitmap_alloc()',
    needs,
  },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const map = { iova: IOVA, vaddr: ram.address, size: 4n * P };
    startDirtyTracking(container);
    const before = mappingState(container);
    withEachFailing(
      context,
      (program) => addMapDma(program, container.fd, map),
      (result) => {
        expect([0, ENOMEM]).toContain(result);
        if (result === 0) {
          const answer = tryGetDirtyBitmap(container, { iova: IOVA, size: 64n * P });
          expect(setBits(answer.get().bitmap)).toEqual([0, 1, 2, 3]);
        }
        expect(container.unmapDma(map)).toBe(result < 0 ? 0n : map.size);
        expect(mappingState(container)).toEqual(before);
      },
    );
  },
);

test(
  'container.no-memory.set-iommu',
  'an IOMMU for which there is no memory is set for none of the groups, and can be set the next time',
  {
    covers: [VFIO_SET_IOMMU],
    source: [
      'drivers/vfio/container.c vfio_ioctl_set_iommu()',
      'drivers/vfio/container.c __vfio_container_attach_groups()',
      ATTACH,
    ],
    device: 'edu',
    uses: ['edu-rp'],
    needs,
  },
  (context) => {
    const { emptyContainer, memory, openGroup } = context;
    const groups = [openGroup('edu'), openGroup('edu-rp')];
    const ram = memory({ size: 4096, kind: '4k' });
    const map = { iova: IOVA, vaddr: ram.address, size: P };
    const container = emptyContainer();
    for (const group of groups) group.setContainer(container);
    const refused = withEachFailing(
      context,
      ioctlWith(container.fd, VFIO_SET_IOMMU.request, VFIO_TYPE1v2_IOMMU),
      (result) => {
        expect([0, ENOMEM]).toContain(result);
        if (result < 0) expect(container.tryMapDma(map)).toFailWith('EINVAL');
        else expect(container.tryMapDma(map)).toSucceed(0);
        for (const group of groups) group.unsetContainer();
        for (const group of groups) group.setContainer(container);
      },
    );
    expect(refused).toBeGreaterThan(0);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
  },
);

test(
  'container.no-memory.second-group',
  'a group for which there is no memory does not join, and changes nothing for the one that is there',
  {
    covers: [VFIO_GROUP_SET_CONTAINER],
    source: ['drivers/vfio/container.c vfio_container_attach_group()', ATTACH],
    device: 'edu',
    uses: ['edu-rp'],
    needs,
  },
  (context) => {
    const { container, memory, openGroup } = context;
    const group = openGroup('edu-rp');
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: P });
    const state = mappingState(container);
    const ranges = container.iovaRanges();
    const number = Buffer.alloc(4);
    number.writeInt32LE(container.fd);
    const refused = withEachFailing(
      context,
      ioctlWith(group.fd, VFIO_GROUP_SET_CONTAINER.request, number),
      (result) => {
        expect([0, ENOMEM]).toContain(result);
        if (result < 0) expect(group.tryUnsetContainer()).toFailWith('EINVAL');
        else group.unsetContainer();
        expect(mappingState(container)).toEqual(state);
        expect(container.iovaRanges()).toEqual(ranges);
      },
    );
    expect(refused).toBeGreaterThan(0);
  },
);
