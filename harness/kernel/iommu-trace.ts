import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';

const TRACEFS = '/sys/kernel/tracing';
/** An instance of our own: whatever else is traced goes on undisturbed. */
const INSTANCE = `${TRACEFS}/instances/vfio-conformance`;
const EVENTS = ['map', 'unmap'] as const;

/** One call of iommu_map() or iommu_unmap() that the kernel's VFIO made. */
export interface IommuCall {
  event: (typeof EVENTS)[number];
  iova: bigint;
  size: number;
}

/** Whether the kernel tells what is asked of the IOMMU (include/trace/events/iommu.h), and this user may ask. */
export function canTraceIommu(): boolean {
  return process.getuid?.() === 0 && existsSync(`${TRACEFS}/events/iommu/map`);
}

/** What is asked of the IOMMU while `body` runs, by whomever. */
export function traceIommu(body: () => void): IommuCall[] {
  mkdirSync(INSTANCE);
  const enable = (on: 0 | 1) => {
    for (const event of EVENTS) {
      writeFileSync(`${INSTANCE}/events/iommu/${event}/enable`, String(on));
    }
  };
  try {
    enable(1);
    body();
    enable(0);
    const lines = readFileSync(`${INSTANCE}/trace`, 'utf8').matchAll(
      /: (map|unmap): IOMMU: iova=(0x[0-9a-f]+) .* size=(\d+)/g,
    );
    return [...lines].map(([, event, iova, size]) => ({
      event: event as IommuCall['event'],
      iova: BigInt(iova!),
      size: Number(size),
    }));
  } finally {
    rmdirSync(INSTANCE);
  }
}
