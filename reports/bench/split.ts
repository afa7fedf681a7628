import type { BenchResult } from '../bench-results.ts';
import { latency, table } from './table.ts';

/** Where the time of mapping goes, by what was measured beside it in the same run; medians in ns. */
export interface Split {
  pages: string;
  size: string;
  /** MAP_DMA of memory that is not populated, and of memory that is. */
  cold: number | null;
  warm: number;
  /** Getting the pages, without VFIO. */
  faultIn: number | null;
  /** Pinning them, without an IOMMU. */
  pin: number | null;
  unmap: number;
  unpin: number | null;
}

/** One for each size and kind of page for which mapping was measured. */
export function splits(benchmarks: readonly BenchResult[]): Split[] {
  const medians = new Map(benchmarks.map(({ id, summary }) => [id, summary?.p50 ?? null]));
  const median = (id: string) => medians.get(id) ?? null;
  return benchmarks.flatMap(({ id, parameters }) => {
    const [, pages, size] = /^container\.dma\.([^.]+)\.([^.]+)\.warm\.map$/.exec(id) ?? [];
    if (pages === undefined || size === undefined || parameters['iommu'] !== 'type1v2') return [];
    const name = `${pages}.${size}`;
    const warm = median(id);
    const unmap = median(`container.dma.${name}.warm.unmap`);
    if (warm === null || unmap === null) return [];
    const split = {
      pages,
      size,
      cold: median(`container.dma.${name}.cold.map`),
      warm,
      faultIn: median(`container.floor.fault-in.${name}`),
      pin: median(`container.floor.io-uring.${name}.pin`),
      unmap,
      unpin: median(`container.floor.io-uring.${name}.unpin`),
    };
    return split.pin === null && split.faultIn === null ? [] : [split];
  });
}

/** The table for people; nothing without a split. */
export function renderSplits(found: readonly Split[]): string[] {
  if (found.length === 0) return [];
  const left = (whole: number, part: number | null) =>
    part === null ? '' : `${whole < part ? '-' : ''}${latency(Math.abs(whole - part))}`;
  const shown = (ns: number | null) => (ns === null ? '' : latency(ns));
  const rows = found.map(({ pages, size, cold, warm, faultIn, pin, unmap, unpin }) => [
    `${pages} ${size}`,
    shown(cold),
    shown(faultIn),
    shown(warm),
    shown(pin),
    left(warm, pin),
    shown(unmap),
    shown(unpin),
    left(unmap, unpin),
  ]);
  return [
    '',
    'Where the time goes: pages are got as MAP_POPULATE does, and pinned as io_uring does; the rest is',
    "VFIO's own bookkeeping, the IOMMU's page table and, in unmapping, the flush of its IOTLB.",
    ...table([
      ['', 'map cold', 'fault-in', 'map warm', 'pin', 'the rest', 'unmap', 'unpin', 'the rest'],
      ...rows,
    ]),
  ];
}
