import {
  ContainerUser,
  ERRNO,
  IOMMU_FAULT,
  MADV_DONTNEED,
  Program,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1v2_IOMMU,
  OWN_MACHINE,
  addMapDma,
  addUnmapDma,
  eventually,
  expect,
  mappingState,
  runParallel,
  setModuleParameter,
  startEdu,
  test,
  vfio_iommu_type1_dirty_bitmap,
  vfio_iommu_type1_info,
  type MapDma,
} from '../../harness/testing/index.ts';

type Ref = ReturnType<Program['syscall']>;

const PAGE = 4096;
const P = 4096n;
const BASE = 0x100000n;
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
const ALL = { iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL };
const covers = [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA];

/** A program that maps and unmaps one range `rounds` times; `loop` counts the complete rounds. */
function cycles(fd: number, map: MapDma, rounds: number): { program: Program; loop: Ref } {
  const program = new Program();
  const first = addMapDma(program, fd, map);
  addUnmapDma(program, fd, map);
  return { program, loop: program.repeat(first, rounds) };
}

/** The results of one operation of each of several programs. */
const results = (programs: readonly Program[], refs: readonly Ref[]) =>
  programs.map((program, index) => program.result(refs[index]!));

/** A program that executes one ioctl with a fixed argument again and again. */
function repeated(fd: number, calls: { request: number; argument: Buffer }[], rounds: number) {
  const program = new Program();
  const refs = calls.map(({ request, argument }) =>
    program.syscall('ioctl', fd, request, program.data(argument)),
  );
  return { program, loop: program.repeat(refs[0]!, rounds) };
}

test(
  'container.concurrency.disjoint',
  'threads that map and unmap ranges of their own do not disturb each other',
  { covers, source: [DO_MAP, DO_UNMAP], device: 'edu' },
  ({ container, memory }) => {
    const ROUNDS = 40;
    const ram = memory({ size: 16 * PAGE, kind: '4k' });
    const before = mappingState(container);
    const threads = [0n, 1n, 2n, 3n].map((thread) =>
      cycles(
        container.fd,
        { iova: BASE + thread * 4n * P, vaddr: ram.address + thread * 4n * P, size: 4n * P },
        ROUNDS,
      ),
    );
    runParallel(threads.map(({ program }) => program));
    for (const { program, loop } of threads) expect(program.count(loop)).toBe(ROUNDS);
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma(ALL)).toBe(0n);
  },
);

test(
  'container.concurrency.same-iova',
  'of several threads that map the same IOVA at once exactly one succeeds',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EEXIST')], source: DO_MAP, device: 'edu' },
  ({ container, memory }) => {
    const ram = memory({ size: 8 * PAGE, kind: '4k' });
    const before = mappingState(container);
    for (let round = 0; round < 6; round++) {
      const programs = [0, 1, 2, 3].map(() => new Program());
      const refs = programs.map((program) =>
        addMapDma(program, container.fd, { iova: BASE, vaddr: ram.address, size: 8n * P }),
      );
      runParallel(programs);
      const refused = -ERRNO.EEXIST;
      expect(results(programs, refs).sort((a, b) => b - a)).toEqual([0, refused, refused, refused]);
      expect(mappingState(container).dmaAvail).toBe(before.dmaAvail! - 1);
      expect(container.unmapDma(ALL)).toBe(8n * P);
      expect(mappingState(container)).toEqual(before);
    }
  },
);

test(
  'container.concurrency.same-unmap',
  'of several threads that unmap the same mapping at once exactly one is told its size',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP, device: 'edu' },
  ({ container, memory }) => {
    const ram = memory({ size: 8 * PAGE, kind: '4k' });
    const range = { iova: BASE, size: 8n * P };
    const before = mappingState(container);
    for (let round = 0; round < 6; round++) {
      container.mapDma({ ...range, vaddr: ram.address });
      const programs = [0, 1, 2, 3].map(() => new Program());
      const unmaps = programs.map((program) => addUnmapDma(program, container.fd, range));
      runParallel(programs);
      expect(
        results(
          programs,
          unmaps.map(({ ref }) => ref),
        ),
      ).toEqual([0, 0, 0, 0]);
      const sizes = unmaps.map(({ size }) => size()).filter((size) => size !== 0n);
      expect(sizes).toEqual([8n * P]);
      expect(mappingState(container)).toEqual(before);
    }
  },
);

test(
  'container.concurrency.overlapping',
  'threads that map and unmap overlapping ranges: what was mapped is what was unmapped, to the page',
  { covers, source: [DO_MAP, DO_UNMAP], device: 'edu' },
  ({ container, memory }) => {
    const ROUNDS = 30;
    const ram = memory({ size: 8 * PAGE, kind: '4k' });
    const before = mappingState(container);
    const threads = [0n, 1n, 2n, 3n].map((thread) => {
      const program = new Program();
      const range = { iova: BASE + thread * P, size: 4n * P };
      const rounds = Array.from({ length: ROUNDS }, () => ({
        map: addMapDma(program, container.fd, { ...range, vaddr: ram.address }),
        unmap: addUnmapDma(program, container.fd, range),
      }));
      return { program, rounds };
    });
    runParallel(threads.map(({ program }) => program));
    let left = 0n;
    for (const { program, rounds } of threads) {
      for (const { map, unmap } of rounds) {
        expect([0, -ERRNO.EEXIST]).toContain(program.result(map));
        expect([0, -ERRNO.EINVAL]).toContain(program.result(unmap.ref));
        if (program.result(map) === 0) left += 4n * P;
        if (program.result(unmap.ref) === 0) left -= unmap.size();
        // A refused unmap writes nothing back.
        else expect(unmap.size()).toBe(4n * P);
      }
    }
    expect(container.unmapDma(ALL)).toBe(left);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.concurrency.unmap-all',
  'while one thread maps page after page, another may unmap all: no page is lost or counted twice',
  { covers, source: [DO_MAP, DO_UNMAP], device: 'edu' },
  ({ container, memory }) => {
    const MAPS = 150;
    const ram = memory({ size: PAGE, kind: '4k' });
    const before = mappingState(container);
    const maps = new Program();
    const refs = Array.from({ length: MAPS }, (_, index) =>
      addMapDma(maps, container.fd, {
        iova: BASE + BigInt(index) * P,
        vaddr: ram.address,
        size: P,
      }),
    );
    const unmaps = new Program();
    const rounds = Array.from({ length: 40 }, () => addUnmapDma(unmaps, container.fd, ALL));
    runParallel([maps, unmaps]);
    for (const ref of refs) expect(maps.result(ref)).toBe(0);
    for (const { ref } of rounds) expect(unmaps.result(ref)).toBe(0);
    const unmapped = rounds.reduce((sum, { size }) => sum + size(), 0n);
    expect(unmapped + container.unmapDma(ALL)).toBe(BigInt(MAPS) * P);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.concurrency.limit',
  'threads that race for the last mappings of the limit get exactly as many as are left',
  {
    covers: [VFIO_IOMMU_MAP_DMA.fails('ENOSPC')],
    source: DO_MAP,
    device: 'edu',
    needs: [OWN_MACHINE],
  },
  ({ containerOfType, defer, memory }) => {
    const restore = setModuleParameter('vfio_iommu_type1', 'dma_entry_limit', '10');
    defer(restore);
    const container = containerOfType(VFIO_TYPE1v2_IOMMU);
    const ram = memory({ size: PAGE, kind: '4k' });
    const threads = [0, 1, 2, 3].map((thread) => {
      const program = new Program();
      const refs = [0, 1, 2, 3].map((index) =>
        addMapDma(program, container.fd, {
          iova: BASE + BigInt(thread * 4 + index) * P,
          vaddr: ram.address,
          size: P,
        }),
      );
      return { program, refs };
    });
    runParallel(threads.map(({ program }) => program));
    const all = threads.flatMap(({ program, refs }) => refs.map((ref) => program.result(ref)));
    expect(all.filter((result) => result === 0)).toHaveLength(10);
    expect(all.filter((result) => result === -ERRNO.ENOSPC)).toHaveLength(6);
    expect(container.dmaAvail()).toBe(0);
    expect(container.unmapDma(ALL)).toBe(10n * P);
    expect(container.dmaAvail()).toBe(10);
  },
);

test(
  'container.concurrency.info',
  'VFIO_IOMMU_GET_INFO answers while mappings come and go',
  { covers: [VFIO_IOMMU_GET_INFO], source: DO_MAP, device: 'edu' },
  ({ container, memory }) => {
    const ROUNDS = 40;
    const ram = memory({ size: PAGE, kind: '4k' });
    const { argsz } = container.getInfo();
    const argument = Buffer.alloc(argsz);
    const before = mappingState(container);
    vfio_iommu_type1_info
      .encode({ argsz, flags: 0, iova_pgsizes: 0n, cap_offset: 0 })
      .copy(argument);
    const maps = cycles(container.fd, { iova: BASE, vaddr: ram.address, size: P }, ROUNDS);
    const infos = repeated(
      container.fd,
      [{ request: VFIO_IOMMU_GET_INFO.request, argument }],
      ROUNDS,
    );
    runParallel([maps.program, infos.program]);
    expect(maps.program.count(maps.loop)).toBe(ROUNDS);
    expect(infos.program.count(infos.loop)).toBe(ROUNDS);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.concurrency.group',
  'a group may join and leave a container again and again while mappings come and go',
  {
    covers: [VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_UNSET_CONTAINER, VFIO_IOMMU_MAP_DMA],
    source: [
      'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group()',
      'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_detach_group()',
    ],
    device: 'edu',
    uses: ['edu-rp'],
  },
  ({ container, memory, openGroup }) => {
    const MAPS = 60;
    const JOINS = 15;
    const ram = memory({ size: 8 * PAGE, kind: '4k' });
    const before = mappingState(container);
    const argument = Buffer.alloc(4);
    argument.writeInt32LE(container.fd);
    const maps = cycles(container.fd, { iova: BASE, vaddr: ram.address, size: 8n * P }, MAPS);
    const joins = repeated(
      openGroup('edu-rp').fd,
      [
        { request: VFIO_GROUP_SET_CONTAINER.request, argument },
        { request: VFIO_GROUP_UNSET_CONTAINER.request, argument: Buffer.alloc(4) },
      ],
      JOINS,
    );
    runParallel([maps.program, joins.program]);
    expect(maps.program.count(maps.loop)).toBe(MAPS);
    expect(joins.program.count(joins.loop)).toBe(JOINS);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.concurrency.dirty-tracking',
  'dirty tracking may be switched on and off while mappings come and go',
  {
    covers: [
      VFIO_IOMMU_DIRTY_PAGES.flag('VFIO_IOMMU_DIRTY_PAGES_FLAG_START'),
      VFIO_IOMMU_DIRTY_PAGES.flag('VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP'),
    ],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_dirty_pages()',
    device: 'edu',
  },
  ({ container, memory }) => {
    const ROUNDS = 40;
    const ram = memory({ size: 8 * PAGE, kind: '4k' });
    const before = mappingState(container);
    const { request } = VFIO_IOMMU_DIRTY_PAGES;
    const argument = (flags: number) =>
      vfio_iommu_type1_dirty_bitmap.encode({ argsz: vfio_iommu_type1_dirty_bitmap.size, flags });
    const maps = cycles(container.fd, { iova: BASE, vaddr: ram.address, size: 8n * P }, ROUNDS);
    const switches = repeated(
      container.fd,
      [
        { request, argument: argument(VFIO_IOMMU_DIRTY_PAGES_FLAG_START) },
        { request, argument: argument(VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP) },
      ],
      ROUNDS,
    );
    runParallel([maps.program, switches.program]);
    expect(maps.program.count(maps.loop)).toBe(ROUNDS);
    expect(switches.program.count(switches.loop)).toBe(ROUNDS);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.concurrency.processes',
  'processes that map memory of their own at once are each counted for theirs alone',
  { covers, source: [DO_MAP, DO_UNMAP], device: 'edu' },
  ({ container, actor }) => {
    const ROUNDS = 20;
    const before = mappingState(container);
    const users = [0n, 1n, 2n].map((number) => {
      const user = new ContainerUser(actor({ inheritFds: [container.fd] }), container);
      const vaddr = user.memory(8 * PAGE);
      const range = { iova: BASE + number * 8n * P, vaddr, size: 8n * P };
      const { program, loop } = cycles(container.fd, range, ROUNDS);
      const last = addMapDma(program, container.fd, range);
      return { user, program, loop, last };
    });
    for (const { user, program } of users) user.actor.start(program);
    for (const { user } of users) user.actor.join();
    for (const { user, program, loop, last } of users) {
      expect(program.count(loop)).toBe(ROUNDS);
      expect(program.result(last)).toBe(0);
      const { VmLck, VmPin } = user.locked();
      expect(VmLck + VmPin).toBe(32);
    }
    expect(mappingState(container)).toEqual({
      ...before,
      pinned: before.pinned === null ? null : before.pinned + 24,
      dmaAvail: before.dmaAvail! - 3,
    });
    expect(container.unmapDma(ALL)).toBe(24n * P);
    for (const { user } of users) expect(user.locked()).toEqual({ VmLck: 0, VmPin: 0 });
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.concurrency.mlock',
  'locked memory stays exact while one thread maps and unmaps and another locks and unlocks',
  {
    covers,
    source: 'drivers/vfio/vfio_iommu_type1.c mm_lock_acct()',
    device: 'edu',
    peer: ['A16'],
  },
  ({ container, memory }) => {
    const ROUNDS = 300;
    const ram = memory({ size: PAGE, kind: '4k' });
    const locked = memory({ size: 3 * PAGE, kind: '4k' });
    const before = mappingState(container);
    const maps = cycles(container.fd, { iova: BASE, vaddr: ram.address, size: P }, ROUNDS);
    const locks = new Program();
    const first = locks.syscall('mlock', locked.address, locked.size);
    locks.syscall('munlock', locked.address, locked.size);
    const loop = locks.repeat(first, 5 * ROUNDS);
    runParallel([maps.program, locks]);
    expect(maps.program.count(maps.loop)).toBe(ROUNDS);
    expect(locks.count(loop)).toBe(5 * ROUNDS);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.concurrency.memory-in-motion',
  'mapping memory that another thread gives back and touches again never fails',
  {
    covers,
    source: 'drivers/vfio/vfio_iommu_type1.c vaddr_get_pfns()',
    device: 'edu',
  },
  ({ container, memory }) => {
    const ROUNDS = 60;
    const ram = memory({ size: 8 * PAGE, kind: '4k' });
    const before = mappingState(container);
    const map = { iova: BASE, vaddr: ram.address, size: 8n * P };
    const mapper = cycles(container.fd, map, ROUNDS);
    const mover = new Program();
    const first = mover.syscall('madvise', ram.address, ram.size, MADV_DONTNEED);
    mover.store(64, ram.address + 3n * P, 1n);
    mover.repeat(first, 20 * ROUNDS);
    runParallel([mapper.program, mover]);
    expect(mapper.program.count(mapper.loop)).toBe(ROUNDS);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.concurrency.map-during-dma',
  'mappings made and removed while a device is at work do not disturb its transfer',
  { covers, source: [DO_MAP, DO_UNMAP], device: 'edu' },
  (context) => {
    const { container, device, memory } = context;
    const ram = memory({ size: 4 * PAGE, kind: '4k' });
    const edu = startEdu(context, device);
    container.mapDma({ iova: BASE + P, vaddr: ram.address + P, size: 2n * P });
    ram.fill(1);
    edu.readMemory(BASE + P, PAGE);
    edu.startWriteMemoryWithInterrupt(BASE + 2n * P, PAGE);
    for (const iova of [BASE, BASE + 3n * P]) {
      const { program, loop } = cycles(container.fd, { iova, vaddr: ram.address, size: P }, 15);
      program.run();
      expect(program.count(loop)).toBe(15);
    }
    expect(eventually(() => !edu.dmaBusy(), 20_000)).toBe(true);
    edu.acknowledge();
    expect(ram.verify(1, 2 * PAGE, PAGE, PAGE)).toBe(-1);
    expect(ram.verify(1, 0, 2 * PAGE)).toBe(-1);
  },
);

test(
  'container.concurrency.unmap-during-dma',
  'once an unmap has returned, a transfer that was under way changes the memory no more',
  {
    covers: [VFIO_IOMMU_UNMAP_DMA],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_sync_unpin()',
    device: 'edu',
    provokes: [IOMMU_FAULT],
  },
  (context) => {
    const { container, device, memory } = context;
    const ram = memory({ size: PAGE, kind: '4k' });
    const edu = startEdu(context, device);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: P });
    ram.fill(1);
    edu.readMemory(BASE, PAGE);
    ram.fill(2);
    edu.startWriteMemoryWithInterrupt(BASE, PAGE);
    expect(container.unmapDma({ iova: BASE, size: P })).toBe(P);
    const content = ram.read(0, PAGE);
    expect(eventually(() => !edu.dmaBusy(), 20_000)).toBe(true);
    edu.acknowledge();
    expect(ram.read(0, PAGE).equals(content)).toBe(true);
  },
);
