import type { DmaProbe } from '../../../harness/testing/index.ts';
import {
  IOMMU_FAULT,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  O_CLOEXEC,
  O_RDONLY,
  OWN_MACHINE,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1v2_IOMMU,
  dmaProbe,
  lockedMemory,
  reserveAddresses,
  setModuleParameter,
  sys,
  vfio_iommu_type1_dirty_bitmap,
  vfio_iommu_type1_dma_unmap,
  type Arg,
  type Batch,
  type Container,
  type DmaMemory,
  type Stage,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { PAGE } from './dma-calls.ts';
import { DmaModel, WINDOW, type Protection } from './dma-model.ts';

/** Few enough that programs meet the limit now and then. */
const ENTRY_LIMIT = 24;
/** Behind the memory there are addresses with nothing in them. */
const ADDRESSES = 2 * WINDOW;
/** IOVA of the window; around it is room for ranges that begin before and end behind. */
const BASE = 0x1000_0000;
const STATUS_SIZE = 2048;
/** Length of what stands before the number in /proc/self/status. */
const LABEL = '\nVmLck:'.length;
const CONTENT = 0x64_6d_61;
/** Mappings that the probe needs for itself. */
const PROBE_MAPPINGS = 2;
/** Each costs a fault in the kernel log, which is rate limited and slow. */
const BLOCKED_PLACES = 2;

const PROTECTIONS: Readonly<Record<Protection, number>> = {
  none: PROT_NONE,
  read: PROT_READ,
  write: PROT_READ | PROT_WRITE,
};

/** What operations of the DMA fuzzers work on. */
export interface DmaRun {
  batch: Batch;
  model: DmaModel;
  stage: DmaStage;
}

/** A container, a window of IOVA space, and memory whose protection changes. */
export class DmaStage implements Stage<DmaRun> {
  readonly container: Container;
  /** An IOVA that no mapping may have; null if there is none. */
  readonly reservedIova: bigint | null;
  readonly #isV2: boolean;
  readonly #limit: number;
  readonly #memory: DmaMemory;
  readonly #address: number;
  readonly #lockedBefore: number;
  readonly #probe: DmaProbe | null;
  /** /proc/self/status */
  readonly #status: number;

  constructor(context: TestContext, type: number) {
    this.#isV2 = type === VFIO_TYPE1v2_IOMMU;
    const restore = OWN_MACHINE.missing()
      ? () => {}
      : setModuleParameter('vfio_iommu_type1', 'dma_entry_limit', String(ENTRY_LIMIT));
    context.defer(restore);
    this.container = this.#isV2 ? context.container : context.containerOfType(type);
    restore();
    this.#limit = this.container.dmaAvail() ?? 65535;
    this.#memory = context.memory({ size: WINDOW * PAGE, kind: 'memfd' });
    this.#memory.fill(CONTENT);
    const area = reserveAddresses(BigInt(ADDRESSES * PAGE), BigInt(PAGE));
    context.defer(() => area.release());
    this.#address = Number(area.address);
    const [first, second] = this.container.iovaRanges();
    this.reservedIova = first && second ? first.end + 1n : null;
    this.#lockedBefore = lockedMemory().VmLck;
    this.#probe = context.role === 'nvme' ? dmaProbe(context, this.container) : null;
    if (this.#probe) context.provokes(IOMMU_FAULT);
    this.#status = sys.open('/proc/self/status', O_RDONLY | O_CLOEXEC);
    context.defer(() => void sys.close(this.#status));
  }

  iova(page: number): number {
    return BASE + page * PAGE;
  }

  vaddr(page: number): number {
    return this.#address + page * PAGE;
  }

  /** KiB of locked memory that a model stands for. */
  lockedKiB(model: DmaModel): number {
    return this.#lockedBefore + (model.lockedPages * PAGE) / 1024;
  }

  /** Adds a look at VmLck; the result tells KiB after the run. */
  addLockedMemory({ program }: Batch): () => number {
    const text = program.data(STATUS_SIZE);
    program.syscall('pread', this.#status, text, STATUS_SIZE, 0);
    return () => {
      const { bytes } = text;
      const at = bytes.indexOf('\nVmLck:');
      return Number(
        /^\s*(\d+) kB/.exec(bytes.toString('latin1', at + LABEL, at + LABEL + 32))?.[1],
      );
    };
  }

  begin(batch: Batch): DmaRun {
    const protections = Array.from({ length: ADDRESSES }, (_, page): Protection =>
      page < WINDOW ? 'write' : 'none',
    );
    const model = new DmaModel(this.#isV2, this.#limit, protections);
    const { program } = batch;
    const all = vfio_iommu_type1_dma_unmap.encode({ flags: VFIO_DMA_UNMAP_FLAG_ALL });
    const { fd } = this.container;
    const unmapped = program.syscall('ioctl', fd, VFIO_IOMMU_UNMAP_DMA.request, program.data(all));
    batch.expectResult(unmapped, 0);
    if (this.#isV2) {
      const stop = vfio_iommu_type1_dirty_bitmap.encode(
        { flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP },
        64,
      );
      batch.expectResult(
        program.syscall('ioctl', fd, VFIO_IOMMU_DIRTY_PAGES.request, program.data(stop)),
        0,
      );
    }
    this.#mapMemory(batch, 0, WINDOW, 'write');
    return { batch, model, stage: this };
  }

  /** Takes all of the memory away from the process that executes it. */
  addNoMemory(batch: Batch): void {
    batch.expectResult(batch.program.syscall('munmap', this.#address, ADDRESSES * PAGE), 0);
  }

  /** Changes what the process may do with pages of its memory, with a new area in place of the old. */
  protect({ batch, model }: DmaRun, page: number, protection: Protection): void {
    model.protect(page, protection);
    this.#mapMemory(batch, page, 1, protection);
  }

  /** Without protection there is other memory, not the old one: a mapping keeps its pages all the same. */
  #mapMemory({ program }: Batch, page: number, pages: number, protection: Protection): void {
    const at = this.vaddr(page);
    const fixed = (prot: number, flags: number, fd: Arg, offset: number) =>
      program.syscall('mmap', at, pages * PAGE, prot, flags | MAP_FIXED, fd, offset);
    if (protection === 'none') {
      fixed(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    } else {
      fixed(PROTECTIONS[protection], MAP_SHARED, this.#memory.fd, page * PAGE);
    }
  }

  /** The device sees what is mapped, and nothing else. */
  end({ model }: DmaRun): ReturnType<NonNullable<Stage<DmaRun>['end']>> {
    if (!this.#probe) return null;
    for (const { at, pages } of model.mappings.slice(0, PROBE_MAPPINGS)) {
      model.unmap({ at, pages });
      const range = { iova: BigInt(this.iova(at)), size: BigInt(pages * PAGE) };
      this.container.unmapDma(range);
    }
    this.#probe.remap();
    const mapped: { page: number; iova: bigint; phase: number }[] = [];
    const free: typeof mapped = [];
    for (let page = 0; page < WINDOW; page++) {
      const owner = model.ownerOf(page);
      const from = owner ? owner.from + page - owner.at : model.formerOf(page);
      if (from === undefined) continue;
      const place = { page, iova: BigInt(this.iova(page)), phase: from * PAGE };
      if (!owner) free.push(place);
      else if (owner.readable) mapped.push(place);
    }
    const [hidden] = this.#probe.misses(CONTENT, mapped);
    if (hidden !== undefined) {
      return {
        what: `page ${mapped[hidden]!.page} of the window, seen by the device`,
        expected: 'the memory that is mapped there',
        observed: 'something else',
      };
    }
    const blocked = free.slice(0, BLOCKED_PLACES);
    const seen = blocked.length - this.#probe.misses(CONTENT, blocked).length;
    if (seen > 0) {
      return {
        what: 'a page of the window with no mapping, seen by the device',
        expected: 'nothing',
        observed: 'memory that was mapped there before',
      };
    }
    return null;
  }
}
