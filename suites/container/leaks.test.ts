import {
  O_CLOEXEC,
  O_RDWR,
  AT_FDCWD,
  Program,
  SLABINFO,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  addDirtyPages,
  addMapDma,
  addUnmapDma,
  expect,
  expectNoKernelLeak,
  groupNode,
  sys,
  test,
  vfio_iommu_type1_info,
  type Actor,
  type Arg,
  type Ref,
  type TestContext,
} from '../../harness/testing/index.ts';

const P = 4096n;
const IOVA = 0x100000n;
/** Where something leaks, it is looked at longer. */
const OPTIONS = { needs: [SLABINFO], timeoutMs: 180_000 };
const ROUNDS = 200;
/** They cost more. */
const PROCESSES = 200;
const EFAULT = -14;
const ENODEV = -19;

/** Does {@link ROUNDS} times over what `add` adds to a program: the different answers, each once. */
function differentAnswers(add: (program: Program) => Ref[]): number[][] {
  const program = new Program();
  const refs = Array.from({ length: ROUNDS }, () => add(program));
  program.run();
  const answers = refs.map((round) => round.map((ref) => program.result(ref)));
  return [...new Map(answers.map((answer) => [String(answer), answer])).values()];
}

/** Opens a node in a program. */
function addOpen(program: Program, path: string): Ref {
  return program.syscall('openat', AT_FDCWD, program.data(path), O_RDWR | O_CLOEXEC);
}

/** VFIO_GROUP_SET_CONTAINER in a program. */
function addSetContainer(program: Program, group: Arg, container: Ref): Ref {
  const number = program.data(4);
  program.store(32, number, container);
  return program.syscall('ioctl', group, VFIO_GROUP_SET_CONTAINER.request, number);
}

test(
  'container.leaks.map',
  'mapping and unmapping leaves nothing in the kernel, nor does a mapping that is refused',
  {
    covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA],
    source: [
      'drivers/vfio/vfio_iommu_type1.c vfio_remove_dma()',
      'drivers/vfio/vfio_iommu_type1.c vfio_pin_map_dma()',
    ],
    ...OPTIONS,
  },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const map = { iova: IOVA, vaddr: ram.address, size: 4n * P };
    expectNoKernelLeak(ROUNDS, () => {
      const answers = differentAnswers((program) => [
        addMapDma(program, container.fd, map),
        // There is no memory behind it.
        addMapDma(program, container.fd, { ...map, iova: 2n * IOVA, vaddr: P }),
        addUnmapDma(program, container.fd, { iova: IOVA, size: 4n * P }).ref,
      ]);
      expect(answers).toEqual([[0, EFAULT, 0]]);
    });
  },
);

test(
  'container.leaks.dirty-tracking',
  'tracking dirty pages leaves nothing in the kernel, however mappings come and go meanwhile',
  {
    covers: [VFIO_IOMMU_DIRTY_PAGES],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_dma_bitmap_free_all()',
    ...OPTIONS,
  },
  ({ container, memory }) => {
    const ram = memory({ size: 2 * 4096, kind: '4k' });
    const at = (page: bigint) => ({ iova: page * P, vaddr: ram.address, size: P });
    expectNoKernelLeak(ROUNDS, () => {
      const answers = differentAnswers((program) => [
        addMapDma(program, container.fd, at(1n)),
        addMapDma(program, container.fd, at(2n)),
        addDirtyPages(program, container.fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_START),
        addDirtyPages(program, container.fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_START),
        addMapDma(program, container.fd, at(3n)),
        addUnmapDma(program, container.fd, { iova: P, size: P }).ref,
        addDirtyPages(program, container.fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP),
        addUnmapDma(program, container.fd, { iova: 0n, size: 8n * P }).ref,
      ]);
      expect(answers).toEqual([[0, 0, 0, 0, 0, 0, 0, 0]]);
    });
  },
);

test(
  'container.leaks.get-info',
  'asking for information leaves nothing in the kernel, whether the answer fits, does not, or cannot be written',
  {
    covers: [VFIO_IOMMU_GET_INFO],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_get_info()',
    ...OPTIONS,
  },
  ({ container, memory }) => {
    const { argsz: enough } = container.getInfo();
    const ram = memory({ size: 2 * 4096, kind: '4k' });
    // The fixed part ends with the memory.
    expect(sys.munmap(ram.address + P, 4096)).toBe(0);
    const edge = ram.address + P - BigInt(vfio_iommu_type1_info.size);
    const ask = (program: Program, argsz: number) => {
      const info = { argsz, flags: 0, iova_pgsizes: 0n, cap_offset: 0 };
      const argument = program.data(vfio_iommu_type1_info.encode(info, enough));
      return program.syscall('ioctl', container.fd, VFIO_IOMMU_GET_INFO.request, argument);
    };
    expectNoKernelLeak(ROUNDS, () => {
      const answers = differentAnswers((program) => {
        const info = { argsz: enough, flags: 0, iova_pgsizes: 0n, cap_offset: 0 };
        program.copy(edge, program.data(vfio_iommu_type1_info.encode(info)), 24);
        return [
          ask(program, vfio_iommu_type1_info.size),
          ask(program, enough),
          program.syscall('ioctl', container.fd, VFIO_IOMMU_GET_INFO.request, edge),
        ];
      });
      expect(answers).toEqual([[0, 0, EFAULT]]);
    });
  },
);

test(
  'container.leaks.iommu',
  'a container that gets an IOMMU and loses it again leaves nothing in the kernel, nor does a refused type',
  {
    covers: [VFIO_SET_IOMMU, VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_UNSET_CONTAINER],
    source: [
      'drivers/vfio/container.c vfio_ioctl_set_iommu()',
      'drivers/vfio/container.c vfio_group_detach_container()',
      'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group()',
    ],
    device: 'edu',
    uses: ['edu-rp'],
    ...OPTIONS,
  },
  ({ openGroup }) => {
    const [one, two] = [openGroup('edu'), openGroup('edu-rp')];
    expectNoKernelLeak(ROUNDS, () => {
      const answers = differentAnswers((program) => {
        const container = addOpen(program, '/dev/vfio/vfio');
        const setIommu = (type: number) =>
          program.syscall('ioctl', container, VFIO_SET_IOMMU.request, type);
        const leave = (group: number) =>
          program.syscall('ioctl', group, VFIO_GROUP_UNSET_CONTAINER.request, 0);
        const calls = [
          addSetContainer(program, one.fd, container),
          setIommu(0x7fff),
          setIommu(VFIO_TYPE1v2_IOMMU),
          addSetContainer(program, two.fd, container),
          leave(one.fd),
          leave(two.fd),
        ];
        program.syscall('close', container);
        return calls;
      });
      expect(answers).toEqual([[0, ENODEV, 0, 0, 0, 0]]);
    });
  },
);

test(
  'container.leaks.close',
  'a container that is closed with mappings in it leaves nothing in the kernel',
  {
    covers: [VFIO_SET_IOMMU],
    source: [
      'drivers/vfio/container.c vfio_fops_release()',
      'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_release()',
    ],
    device: 'edu',
    ...OPTIONS,
  },
  ({ pci, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    expectNoKernelLeak(ROUNDS, () => {
      const answers = differentAnswers((program) => {
        const container = addOpen(program, '/dev/vfio/vfio');
        const group = addOpen(program, groupNode(pci.group!));
        const calls = [
          addSetContainer(program, group, container),
          program.syscall('ioctl', container, VFIO_SET_IOMMU.request, VFIO_TYPE1v2_IOMMU),
          addMapDma(program, container, { iova: IOVA, vaddr: ram.address, size: P }),
        ];
        program.syscall('close', container);
        program.syscall('close', group);
        return calls;
      });
      expect(answers).toEqual([[0, 0, 0]]);
    });
  },
);

/** A process that has the container and a page of memory, and so have its children. */
function processWithPage({ actor, container }: TestContext): { parent: Actor; vaddr: bigint } {
  const parent = actor({ inheritFds: [container.fd] });
  const memory = new Program();
  const address = memory.syscall('mmap', 0, 4096, 3, 0x22, -1, 0);
  parent.run(memory);
  return { parent, vaddr: memory.address(address) };
}

test(
  'container.leaks.processes',
  'a process that mapped memory is forgotten when it has ended, whoever takes its mapping over or unmaps it',
  {
    covers: [VFIO_IOMMU_MAP_DMA],
    source: [
      'drivers/vfio/vfio_iommu_type1.c vfio_remove_dma()',
      'drivers/vfio/vfio_iommu_type1.c vfio_change_dma_owner()',
    ],
    ...OPTIONS,
  },
  (context) => {
    const { container } = context;
    const { parent, vaddr } = processWithPage(context);
    expectNoKernelLeak(PROCESSES / 2, () => {
      const program = new Program();
      const range = { iova: IOVA, size: P };
      const childMaps = () => {
        const child = program.fork(() => {
          addMapDma(program, container.fd, { ...range, vaddr });
        });
        program.syscall('wait4', child, 0, 0, 0);
      };
      const children = Array.from({ length: PROCESSES / 2 }, () => {
        childMaps();
        const unmapped = addUnmapDma(program, container.fd, range);
        childMaps();
        addUnmapDma(program, container.fd, { ...range, flags: VFIO_DMA_UNMAP_FLAG_VADDR });
        const taken = addMapDma(program, container.fd, {
          ...range,
          vaddr,
          flags: VFIO_DMA_MAP_FLAG_VADDR,
        });
        return [unmapped.ref, taken, addUnmapDma(program, container.fd, range).ref];
      });
      parent.run(program);
      const answers = children.flat().map((ref) => program.result(ref));
      expect(new Set(answers)).toEqual(new Set([0]));
    });
  },
);

test(
  'container.leaks.living-owner',
  'a process that mapped memory is forgotten when it ends, also if another took its mapping over before',
  {
    covers: [VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_VADDR')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_change_dma_owner()',
    ...OPTIONS,
  },
  (context) => {
    const { container } = context;
    const { parent, vaddr } = processWithPage(context);
    expectNoKernelLeak(PROCESSES / 2, () => {
      const program = new Program();
      const range = { iova: IOVA, size: P };
      const calls = Array.from({ length: PROCESSES / 2 }, () => {
        const refs: Ref[] = [];
        const owner = program.fork(() => {
          refs.push(
            addMapDma(program, container.fd, { ...range, vaddr }),
            addUnmapDma(program, container.fd, { ...range, flags: VFIO_DMA_UNMAP_FLAG_VADDR }).ref,
          );
          const heir = program.fork(() => {
            const taken = { ...range, vaddr, flags: VFIO_DMA_MAP_FLAG_VADDR };
            refs.push(addMapDma(program, container.fd, taken));
          });
          program.syscall('wait4', heir, 0, 0, 0);
        });
        program.syscall('wait4', owner, 0, 0, 0);
        return [...refs, addUnmapDma(program, container.fd, range).ref];
      });
      parent.run(program);
      expect(new Set(calls.flat().map((ref) => program.result(ref)))).toEqual(new Set([0]));
    });
  },
);
