import { existsSync } from 'node:fs';
import { TRACING, inTracingInstance, readTracing, writeTracing } from './tracing.ts';

const EVENTS = ['map', 'unmap'] as const;

/** One call of iommu_map() or iommu_unmap() that the kernel's VFIO made. */
export interface IommuCall {
  event: (typeof EVENTS)[number];
  iova: bigint;
  /** What was mapped or unmapped: some drivers unmap all of a large page of which a part is named. */
  size: number;
}

/** Whether the kernel tells what is asked of the IOMMU (include/trace/events/iommu.h), and this user may ask. */
export function canTraceIommu(): boolean {
  return process.getuid?.() === 0 && existsSync(`${TRACING}/events/iommu/map`);
}

/** What is asked of the IOMMU while `body` runs, by whomever. */
export function traceIommu(body: () => void): IommuCall[] {
  const enable = (on: 0 | 1) => {
    for (const event of EVENTS) writeTracing(`events/iommu/${event}/enable`, String(on));
  };
  return inTracingInstance(() => {
    enable(1);
    body();
    enable(0);
    const lines = readTracing('trace').matchAll(
      /: (map|unmap): IOMMU: iova=(0x[0-9a-f]+) .*size=(\d+)/g,
    );
    return [...lines].map(([, event, iova, size]) => ({
      event: event as IommuCall['event'],
      iova: BigInt(iova!),
      size: Number(size),
    }));
  });
}
