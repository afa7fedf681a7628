import {
  ERRNO,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  vfio_info_cap_header,
  vfio_iommu_type1_info,
  type Kind,
} from '../../../harness/testing/index.ts';
import { CHILDREN, addChild } from './dma-fork.ts';
import {
  PAGE,
  RW,
  addMap,
  addUnmap,
  mapCall,
  unmapCall,
  type MapCall,
  type UnmapCall,
} from './dma-calls.ts';
import { addDirtyBitmap, addDirtyFlag, addUnmapTellingDirty } from './dma-dirty-calls.ts';
import { EVERYTHING, WINDOW, WRAPS, type Protection, type Range } from './dma-model.ts';
import type { DmaRun } from './dma-stage.ts';

const TOP = 1n << 64n;
/** All of the IOVA space but its last page: a size of 2^64 does not fit. */
const ALMOST_ALL = TOP - BigInt(PAGE);
const DIRECTIONS = [RW, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE];
const PROTECTIONS: readonly Protection[] = ['write', 'read', 'none'];
const INFO_SIZE = 256;
/** A fork, and the copying of pages that follows it, takes as long as thousands of other operations. */
const RARELY = 1 / 1024;
const CAPABILITY = {
  size: vfio_info_cap_header.size,
  next: vfio_info_cap_header.offsetof('next'),
};

/** The range of an existing mapping, or something close to it; any range if there is no mapping. */
function rangeNear({ model }: DmaRun, which: number, shape: number): Range {
  const { mappings } = model;
  const mapped = mappings[which % Math.max(1, mappings.length)];
  if (!mapped) return { at: which, pages: 1 + shape };
  const { at, pages } = mapped;
  switch (shape) {
    case 4:
      return { at, pages: Math.max(1, pages - 1) };
    case 5:
      return { at, pages: pages + 1 };
    case 6:
      return { at: at + 1, pages };
    case 7:
      return { at: at - 1, pages: pages + 1 };
    default:
      return { at, pages };
  }
}

/** The arguments of an unmap of a range. */
function unmapOf({ stage }: DmaRun, { at, pages }: Range, flags = 0): UnmapCall {
  return unmapCall(stage.iova(at), pages * PAGE, flags);
}

/** The arguments of a map: `pages` from page `at` of the window on, to the memory from `from` on. */
function mapOf({ stage }: DmaRun, at: number, pages: number, from: number, flags = RW): MapCall {
  return mapCall(stage.iova(at), stage.vaddr(from), pages * PAGE, flags);
}

/** A map that is refused: what is wrong with it, and the errno; null leaves the verdict to the model. */
type OddMap = (run: DmaRun, good: MapCall) => { call: MapCall; errno: number | null };

const odd =
  (change: (good: MapCall) => Partial<MapCall>, errno: number): OddMap =>
  (_, good) => ({ call: { ...good, ...change(good) }, errno });

/** The order of vfio_iommu_type1_map_dma() and vfio_dma_do_map(): what is looked at before the list. */
const ODD_MAPS: readonly OddMap[] = [
  odd(() => ({ size: 0 }), ERRNO.EINVAL),
  odd(({ iova }) => ({ iova: Number(iova) + 1 }), ERRNO.EINVAL),
  odd(({ vaddr }) => ({ vaddr: Number(vaddr) + 1 }), ERRNO.EINVAL),
  odd(({ size }) => ({ size: Number(size) + 1 }), ERRNO.EINVAL),
  odd(() => ({ flags: 0 }), ERRNO.EINVAL),
  odd(() => ({ flags: RW | 8 }), ERRNO.EINVAL),
  odd(() => ({ flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_VADDR }), ERRNO.EINVAL),
  odd(() => ({ argsz: 31 }), ERRNO.EINVAL),
  odd(() => ({ iova: TOP - BigInt(PAGE), size: 2 * PAGE }), -WRAPS),
  odd(() => ({ vaddr: TOP - BigInt(PAGE), size: 2 * PAGE }), -WRAPS),
  ({ model, stage }, good) => ({
    call:
      stage.reservedIova === null ? { ...good, size: 0 } : { ...good, iova: stage.reservedIova },
    errno: stage.reservedIova !== null && model.available === 0 ? ERRNO.ENOSPC : ERRNO.EINVAL,
  }),
  // A larger argument than the kernel knows is a newer program's.
  (_, good) => ({ call: { ...good, argsz: 64 }, errno: null }),
];

/** Addresses at which no memory of a process can be. */
const BAD_ADDRESSES = [0, TOP >> 17n, TOP - (TOP >> 17n)];

const ODD_UNMAPS: readonly ((good: UnmapCall) => { call: UnmapCall; errno: number })[] = [
  (good) => ({ call: { ...good, size: 0 }, errno: ERRNO.EINVAL }),
  (good) => ({ call: { ...good, iova: Number(good.iova) + 1 }, errno: ERRNO.EINVAL }),
  (good) => ({ call: { ...good, size: Number(good.size) + 1 }, errno: ERRNO.EINVAL }),
  (good) => ({ call: { ...good, argsz: 23 }, errno: ERRNO.EINVAL }),
  (good) => ({ call: { ...good, flags: 8 }, errno: ERRNO.EINVAL }),
  (good) => ({ call: { ...good, size: 0, flags: VFIO_DMA_UNMAP_FLAG_ALL }, errno: ERRNO.EINVAL }),
  (good) => ({ call: { ...good, iova: 0, flags: VFIO_DMA_UNMAP_FLAG_ALL }, errno: ERRNO.EINVAL }),
  (good) => ({
    call: {
      iova: 0,
      size: 0,
      flags: VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
      argsz: good.argsz,
    },
    errno: ERRNO.EINVAL,
  }),
  (good) => ({ call: { ...good, size: ALMOST_ALL }, errno: -WRAPS }),
];

/** What the capability DMA_AVAIL says; undefined without it. */
function dmaAvailOf(info: Buffer): number | undefined {
  let at = info.readUInt32LE(vfio_iommu_type1_info.offsetof('cap_offset'));
  // A chain that is no chain ends too: it has room for so many headers and no more.
  for (let left = INFO_SIZE / CAPABILITY.size; left > 0 && at > 0; left--) {
    if (at + CAPABILITY.size > INFO_SIZE) return undefined;
    if (info.readUInt16LE(at) === VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) {
      return info.readUInt32LE(at + CAPABILITY.size);
    }
    at = info.readUInt32LE(at + CAPABILITY.next);
  }
  return undefined;
}

/** The operations of the DMA fuzzers. */
export const DMA_KINDS: Readonly<Record<string, Kind<DmaRun>>> = {
  map: {
    weight: 20,
    fields: { at: WINDOW, more: 8, from: WINDOW + 8, direction: DIRECTIONS.length },
    issue(run, at = 0, more = 0, from = 0, direction = 0) {
      const { batch, model, stage } = run;
      const flags = DIRECTIONS[direction]!;
      const pages = Math.min(1 + more, WINDOW - at);
      const read = (flags & VFIO_DMA_MAP_FLAG_READ) !== 0;
      const write = (flags & VFIO_DMA_MAP_FLAG_WRITE) !== 0;
      const ref = addMap(batch, stage.container.fd, mapOf(run, at, pages, from, flags));
      batch.expectResult(ref, model.map({ at, pages, from, read, write }));
    },
  },
  'map-odd': {
    weight: 3,
    fields: { at: WINDOW, from: WINDOW, oddity: ODD_MAPS.length },
    issue(run, at = 0, from = 0, oddity = 0) {
      const { batch, model, stage } = run;
      const good = mapOf(run, at, 1, from);
      const { call, errno } = ODD_MAPS[oddity]!(run, good);
      const expected =
        errno === null ? model.map({ at, pages: 1, from, read: true, write: true }) : -errno;
      batch.expectResult(addMap(batch, stage.container.fd, call), expected);
    },
  },
  'map-nowhere': {
    weight: 1,
    fields: { at: WINDOW, address: BAD_ADDRESSES.length },
    issue(run, at = 0, address = 0) {
      const { batch, model, stage } = run;
      const call = { ...mapOf(run, at, 1, 0), vaddr: BAD_ADDRESSES[address]! };
      const ref = addMap(batch, stage.container.fd, call);
      batch.expectResult(ref, model.refusal(at, 1) ?? -ERRNO.EFAULT);
    },
  },
  'map-without-argument': {
    weight: 1,
    fields: {},
    issue({ batch, stage }) {
      const { fd } = stage.container;
      const ref = batch.program.syscall('ioctl', fd, VFIO_IOMMU_MAP_DMA.request, 0);
      batch.expectResult(ref, -ERRNO.EFAULT);
    },
  },
  unmap: {
    weight: 14,
    fields: { which: WINDOW, shape: 8 },
    issue(run, which = 0, shape = 0) {
      const range = rangeNear(run, which, shape);
      const expected = run.model.unmap(range);
      addUnmap(run.batch, run.stage.container.fd, unmapOf(run, range), expected);
    },
  },
  'unmap-range': {
    weight: 2,
    fields: { at: WINDOW, more: WINDOW },
    issue(run, at = 0, more = 0) {
      const range = { at, pages: 1 + more };
      const expected = run.model.unmap(range);
      addUnmap(run.batch, run.stage.container.fd, unmapOf(run, range), expected);
    },
  },
  'unmap-odd': {
    weight: 3,
    fields: { which: WINDOW, oddity: ODD_UNMAPS.length },
    issue(run, which = 0, oddity = 0) {
      const good = unmapOf(run, rangeNear(run, which, 0));
      const { call, errno } = ODD_UNMAPS[oddity]!(good);
      addUnmap(run.batch, run.stage.container.fd, call, -errno);
    },
  },
  'unmap-all': {
    weight: 1,
    fields: { how: 2 },
    issue({ batch, model, stage }, how = 0) {
      const flags = how === 0 ? VFIO_DMA_UNMAP_FLAG_ALL : 0;
      const size = how === 0 ? 0 : ALMOST_ALL;
      addUnmap(batch, stage.container.fd, unmapCall(0, size, flags), model.unmap(EVERYTHING));
    },
  },
  'take-vaddr': {
    weight: 4,
    fields: { which: WINDOW, shape: 8 },
    issue(run, which = 0, shape = 0) {
      const range = rangeNear(run, which, shape);
      const call = unmapOf(run, range, VFIO_DMA_UNMAP_FLAG_VADDR);
      addUnmap(run.batch, run.stage.container.fd, call, run.model.takeVaddr(range));
    },
  },
  'take-all-vaddrs': {
    weight: 1,
    fields: {},
    issue({ batch, model, stage }) {
      const flags = VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR;
      const expected = model.takeVaddr(EVERYTHING);
      addUnmap(batch, stage.container.fd, unmapCall(0, 0, flags), expected);
    },
  },
  'give-vaddr': {
    weight: 5,
    fields: { which: WINDOW, shape: 8, from: WINDOW },
    issue(run, which = 0, shape = 0, from = 0) {
      const range = rangeNear(run, which, shape);
      const call = mapOf(run, range.at, range.pages, from, VFIO_DMA_MAP_FLAG_VADDR);
      const ref = addMap(run.batch, run.stage.container.fd, call);
      run.batch.expectResult(ref, run.model.giveVaddr(range));
    },
  },
  'track-dirty': {
    weight: 1,
    fields: { stop: 2 },
    issue: ({ batch, model, stage }, stop = 0) => addDirtyFlag(batch, model, stage, stop === 1),
  },
  'get-dirty': {
    weight: 1,
    fields: { which: WINDOW, shape: 8, more: 4 },
    issue(run, which = 0, shape = 0, more = 0) {
      const { at, pages } = rangeNear(run, which, shape);
      addDirtyBitmap(run, { at, pages: pages + 8 * more });
    },
  },
  'unmap-dirty': {
    weight: 2,
    fields: { which: WINDOW, shape: 8 },
    issue: (run, which = 0, shape = 0) => addUnmapTellingDirty(run, rangeNear(run, which, shape)),
  },
  protect: {
    weight: 2,
    fields: { page: WINDOW, protection: PROTECTIONS.length },
    issue: (run, page = 0, protection = 0) =>
      run.stage.protect(run, page, PROTECTIONS[protection]!),
  },
  fork: {
    weight: RARELY,
    fields: { child: CHILDREN, which: WINDOW, shape: 8 },
    issue: (run, child = 0, which = 0, shape = 0) =>
      addChild(run, child, rangeNear(run, which, shape)),
  },
  info: {
    weight: 1,
    fields: {},
    issue({ batch, model, stage }) {
      const argument = batch.program.data(INFO_SIZE);
      argument.setU32(0, INFO_SIZE);
      const { fd } = stage.container;
      batch.expectResult(
        batch.program.syscall('ioctl', fd, VFIO_IOMMU_GET_INFO.request, argument),
        0,
      );
      const { available } = model;
      batch.check(() => {
        const observed = dmaAvailOf(argument.bytes);
        if (observed === available) return null;
        return { what: 'DMA_AVAIL', expected: String(available), observed: String(observed) };
      });
    },
  },
  locked: {
    weight: 1,
    fields: {},
    issue({ batch, model, stage }) {
      const expected = stage.lockedKiB(model);
      const observed = stage.addLockedMemory(batch);
      batch.check(() => {
        if (observed() === expected) return null;
        return { what: 'VmLck', expected: `${expected} kB`, observed: `${observed()} kB` };
      });
    },
  },
};
