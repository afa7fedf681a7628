import type { BenchResult } from '../bench-results.ts';
import { latency, table } from './table.ts';

/** Where the time of one call goes, by what was measured beside it in the same run; medians in ns. */
export interface Parts {
  whole: number;
  /** Pinning the pages, or letting them go, without an IOMMU. */
  pin: number | null;
  /** The IOMMU's page table, without flushes. */
  table: number | null;
  /** Flushes of the IOMMU's IOTLB. */
  flush: number | null;
  /** What is left: bookkeeping of VFIO's, and whatever was not measured. */
  rest: number;
}

/** Where the time of mapping some memory and unmapping it goes. */
export interface Split {
  pages: string;
  size: string;
  /** MAP_DMA of memory that is not populated. */
  cold: number | null;
  /** Getting the pages, without VFIO. */
  faultIn: number | null;
  /** MAP_DMA of memory that is populated. */
  map: Parts;
  unmap: Parts;
}

/** One for each size and kind of page for which mapping was measured. */
export function splits(benchmarks: readonly BenchResult[]): Split[] {
  const medians = new Map(benchmarks.map(({ id, summary }) => [id, summary?.p50 ?? null]));
  const median = (id: string) => medians.get(id) ?? null;
  return benchmarks.flatMap(({ id, parameters }) => {
    const [, pages, size] = /^container\.dma\.([^.]+)\.([^.]+)\.warm\.map$/.exec(id) ?? [];
    if (pages === undefined || size === undefined || parameters['iommu'] !== 'type1v2') return [];
    const name = `${pages}.${size}`;
    const inside = (part: string) => median(`container.inside.${name}.${part}`);
    const warm = median(id);
    const unmap = median(`container.dma.${name}.warm.unmap`);
    if (warm === null || unmap === null) return [];
    const split = {
      pages,
      size,
      cold: median(`container.dma.${name}.cold.map`),
      faultIn: median(`container.floor.fault-in.${name}`),
      map: parts(
        warm,
        median(`container.floor.io-uring.${name}.pin`),
        inside('iommu-map'),
        inside('map-flush'),
      ),
      unmap: parts(
        unmap,
        median(`container.floor.io-uring.${name}.unpin`),
        inside('iommu-unmap'),
        inside('unmap-flush'),
      ),
    };
    const measured = [split.faultIn, split.map.pin, split.map.table, split.unmap.flush];
    return measured.every((part) => part === null) ? [] : [split];
  });
}

function parts(
  whole: number,
  pin: number | null,
  table: number | null,
  flush: number | null,
): Parts {
  return { whole, pin, table, flush, rest: whole - (pin ?? 0) - (table ?? 0) - (flush ?? 0) };
}

const PARTS = ['IOMMU table', 'flush', 'the rest'];

/** The tables for people; nothing without a split. */
export function renderSplits(found: readonly Split[]): string[] {
  if (found.length === 0) return [];
  return [
    '',
    'Where the time goes: pages are got as MAP_POPULATE does and pinned as io_uring does; the table and the',
    'flushes of the IOMMU are traced in the kernel. The rest is VFIO itself, and what was not measured.',
    ...table([
      ['', 'map cold', 'fault-in', 'map warm', 'pin', ...PARTS],
      ...found.map(({ pages, size, cold, faultIn, map }) => [
        `${pages} ${size}`,
        shown(cold),
        shown(faultIn),
        ...cells(map),
      ]),
    ]),
    '',
    ...table([
      ['', 'unmap', 'unpin', ...PARTS],
      ...found.map(({ pages, size, unmap }) => [`${pages} ${size}`, ...cells(unmap)]),
    ]),
  ];
}

function cells({ whole, pin, table, flush, rest }: Parts): string[] {
  return [whole, pin, table, flush, rest].map(shown);
}

function shown(ns: number | null): string {
  if (ns === null) return '';
  return ns < 0 ? `-${latency(-ns)}` : latency(ns);
}
