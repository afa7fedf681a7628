import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { TRACING, TRACING_INSTANCE } from './tracing.ts';

const EVENTS = ['map', 'unmap'] as const;

/** One call of iommu_map() or iommu_unmap() that the kernel's VFIO made. */
export interface IommuCall {
  event: (typeof EVENTS)[number];
  iova: bigint;
  size: number;
}

/** Whether the kernel tells what is asked of the IOMMU (include/trace/events/iommu.h), and this user may ask. */
export function canTraceIommu(): boolean {
  return process.getuid?.() === 0 && existsSync(`${TRACING}/events/iommu/map`);
}

/** What is asked of the IOMMU while `body` runs, by whomever. */
export function traceIommu(body: () => void): IommuCall[] {
  mkdirSync(TRACING_INSTANCE);
  const enable = (on: 0 | 1) => {
    for (const event of EVENTS) {
      writeFileSync(`${TRACING_INSTANCE}/events/iommu/${event}/enable`, String(on));
    }
  };
  try {
    enable(1);
    body();
    enable(0);
    const lines = readFileSync(`${TRACING_INSTANCE}/trace`, 'utf8').matchAll(
      /: (map|unmap): IOMMU: iova=(0x[0-9a-f]+) .* size=(\d+)/g,
    );
    return [...lines].map(([, event, iova, size]) => ({
      event: event as IommuCall['event'],
      iova: BigInt(iova!),
      size: Number(size),
    }));
  } finally {
    rmdirSync(TRACING_INSTANCE);
  }
}
