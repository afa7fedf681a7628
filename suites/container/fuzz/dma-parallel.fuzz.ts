import {
  ERRNO,
  Program,
  THREADS,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  Batch,
  fuzz,
  pause,
  runParallel,
  type Container,
  type Data,
  type DmaMemory,
  type Kind,
  type Ref,
  type Stage,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { PAGE, addMap, addUnmap, mapCall, unmapCall } from './dma-calls.ts';
import { DmaModel, type Protection } from './dma-model.ts';

/** Pages that belong to one thread, from a multiple of it on; behind them those that all fight for. */
const OWN = 16;
const SHARED = 4;
const BASE = 0x1000_0000;

/** A thread with a window of its own, whose answers no other thread changes. */
interface Thread {
  batch: Batch;
  model: DmaModel;
}

/** A map or unmap of a page that every thread may map and unmap. */
interface Contended {
  thread: Thread;
  page: number;
  ref: Ref;
  /** Of an unmap, the argument, in which the kernel says how much. */
  unmapped?: Data;
}

interface ParallelRun {
  stage: ParallelStage;
  threads: Thread[];
  contended: Contended[];
}

const SIZE = 16;

class ParallelStage implements Stage<ParallelRun> {
  readonly container: Container;
  readonly #memory: DmaMemory;
  readonly #limit: number;
  readonly #others: Batch[];

  constructor({ container, memory }: TestContext) {
    this.container = container;
    this.#limit = container.dmaAvail() ?? 65535;
    this.#memory = memory({ size: OWN * PAGE, kind: 'memfd' });
    this.#others = Array.from({ length: THREADS - 1 }, () => new Batch(new Program()));
  }

  iova(page: number): number {
    return BASE + page * PAGE;
  }

  vaddr(page: number): number {
    return Number(this.#memory.address) + page * PAGE;
  }

  begin(batch: Batch): ParallelRun {
    this.#unmapAll();
    const protections = Array.from({ length: OWN }, (): Protection => 'write');
    const threads = [batch, ...this.#others.map((other) => other.reset())].map((own) => ({
      batch: own,
      model: new DmaModel(true, this.#limit, [...protections]),
    }));
    return { stage: this, threads, contended: [] };
  }

  #unmapAll(): number {
    const all = { iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL };
    return Number(this.container.unmapDma(all)) / PAGE;
  }

  execute({ threads }: ParallelRun): void {
    runParallel(threads.map(({ batch }) => batch.program));
  }

  end({ threads, contended }: ParallelRun): ReturnType<NonNullable<Stage<ParallelRun>['end']>> {
    for (const [thread, { batch }] of threads.entries()) {
      const difference = batch.difference();
      if (difference) return { ...difference, what: `thread ${thread}: ${difference.what}` };
    }
    const owned = threads.reduce((sum, { model }) => sum + model.lockedPages, 0);
    const won = Array.from({ length: SHARED }, () => 0);
    for (const { thread, page, ref, unmapped } of contended) {
      const { program } = thread.batch;
      const result = program.result(ref);
      if (unmapped) won[page]! -= Number(unmapped.bytes.readBigUInt64LE(SIZE)) / PAGE;
      else if (result === 0) won[page]! += 1;
      else if (result !== -ERRNO.EEXIST) {
        return { what: `map of page ${page}`, expected: '0 or EEXIST', observed: String(result) };
      }
    }
    const wrong = won.findIndex((count) => count !== 0 && count !== 1);
    if (wrong >= 0) {
      const observed = `mapped ${won[wrong]} times more than unmapped`;
      return { what: `page ${wrong}`, expected: 'mapped once or not at all', observed };
    }
    const expected = owned + won.reduce((sum, count) => sum + count, 0);
    const left = this.#unmapAll();
    if (left === expected) return null;
    return { what: 'pages left', expected: String(expected), observed: String(left) };
  }
}

const KINDS: Readonly<Record<string, Kind<ParallelRun>>> = {
  map: {
    weight: 6,
    fields: { thread: THREADS, at: OWN, more: 4, from: OWN },
    issue({ stage, threads }, thread = 0, at = 0, more = 0, from = 0) {
      const { batch, model } = threads[thread]!;
      const pages = Math.min(1 + more, OWN - at);
      const first = Math.min(from, OWN - pages);
      const iova = stage.iova(thread * OWN + at);
      const call = mapCall(iova, stage.vaddr(first), pages * PAGE);
      const ref = addMap(batch, stage.container.fd, call);
      batch.expectResult(ref, model.map({ at, pages, from: first, read: true, write: true }));
    },
  },
  unmap: {
    weight: 6,
    fields: { thread: THREADS, at: OWN, more: OWN },
    issue({ stage, threads }, thread = 0, at = 0, more = 0) {
      const { batch, model } = threads[thread]!;
      const range = { at, pages: Math.min(1 + more, OWN - at) };
      const call = unmapCall(stage.iova(thread * OWN + at), range.pages * PAGE);
      addUnmap(batch, stage.container.fd, call, model.unmap(range));
    },
  },
  'map-contended': {
    weight: 3,
    fields: { thread: THREADS, page: SHARED },
    issue({ stage, threads, contended }, thread = 0, page = 0) {
      const own = threads[thread]!;
      const iova = stage.iova(THREADS * OWN + page);
      const call = mapCall(iova, stage.vaddr(page), PAGE);
      contended.push({ thread: own, page, ref: addMap(own.batch, stage.container.fd, call) });
    },
  },
  'unmap-contended': {
    weight: 3,
    fields: { thread: THREADS, page: SHARED },
    issue({ stage, threads, contended }, thread = 0, page = 0) {
      const own = threads[thread]!;
      const { program } = own.batch;
      const argument = unmapArgument(own.batch, stage.iova(THREADS * OWN + page));
      const request = VFIO_IOMMU_UNMAP_DMA.request;
      const ref = program.syscall('ioctl', stage.container.fd, request, argument);
      own.batch.expectResult(ref, 0);
      contended.push({ thread: own, page, ref, unmapped: argument });
    },
  },
  pause: pause(),
};

/** An unmap of one page: how much it unmapped depends on who came first. */
function unmapArgument({ program }: Batch, iova: number): Data {
  const argument = program.data(24);
  argument.bytes.writeUInt32LE(24, 0);
  argument.bytes.writeBigUInt64LE(BigInt(iova), 8);
  argument.bytes.writeBigUInt64LE(BigInt(PAGE), SIZE);
  return argument;
}

fuzz<ParallelRun>(
  'container.fuzz.dma-parallel',
  'threads that map and unmap in one container get the answers that each would get alone, and of a contended page one wins',
  {
    covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA],
    source: 'drivers/vfio/vfio_iommu_type1.c struct vfio_iommu::lock',
    kinds: KINDS,
    longest: 600,
    programs: 6,
    stage: (context) => new ParallelStage(context),
  },
);
