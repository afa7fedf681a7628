import { iommuUnits } from '../kernel/iommu-units.ts';
import type { PciFunction } from '../pci/topology.ts';
import type { KernelLog } from '../kernel/kmsg.ts';
import type { TestContext } from './context.ts';
import { eventually } from './eventually.ts';
import { ownsMachine } from './machine.ts';
import type { Requirement } from './requirement.ts';

/** Limits of QEMU's amd-iommu (hw/i386/amd_iommu.c) do not concern a real one. */
const isEmulatedAmd = (): boolean =>
  ownsMachine() && iommuUnits().some((unit) => unit.startsWith('ivhd'));

/** A log of blocked accesses. QEMU's amd-iommu blocks them without a word. */
export const DMA_FAULT_LOG: Requirement = {
  name: 'reports of blocked DMA',
  missing: () => (isEmulatedAmd() ? 'the emulated AMD IOMMU reports no blocked DMA' : null),
};

/** DMA that goes through the IOMMU. From behind a port it passes by QEMU's amd-iommu. */
export const REMAPPED_DMA: Requirement = {
  name: 'DMA through the IOMMU',
  missing: (pci) =>
    pci && pci.parent !== null && isEmulatedAmd()
      ? `DMA of ${pci.bdf}, behind a port, passes by the emulated AMD IOMMU`
      : null,
};

/** One access that the IOMMU blocked, as it was logged. */
export interface DmaFault {
  /** `bus:slot.function`, for instance `03:00.0`. */
  device: string;
  /** The IOVA; Intel's gives that of the page. */
  address: bigint;
  write: boolean | null;
}

/** What the log says of blocked accesses; to be declared in `provokes`. */
export const DMA_FAULT_REPORTS = [
  /DMAR: \[DMA (Read|Write) (NO_PASID|PASID 0x[0-9a-f]+)\] Request device/,
  /DMAR: DRHD: handling fault status reg/,
  /DMAR: Dump .* table entries for IOVA/,
  /DMAR: (root|scalable mode|context|pasid|pte).* (entry|level)/i,
  /dmar_fault: \d+ callbacks suppressed/,
  /page fault from EP/,
  /AMD-Vi: Event logged \[IO_PAGE_FAULT /,
  /amd_iommu_report_page_fault: \d+ callbacks suppressed/,
];

const INTEL =
  /DMAR: \[DMA (Read|Write) [^\]]*\] Request device \[(?:[0-9a-f]{4}:)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\] fault addr 0x([0-9a-f]+)/;
const VIRTIO = /page fault from EP (\d+) at 0x([0-9a-f]+) \[([^\]]*)\]/;
/** drivers/iommu/amd/iommu.c amd_iommu_report_page_fault(); EVENT_FLAG_RW. */
const AMD =
  /([0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): AMD-Vi: Event logged \[IO_PAGE_FAULT domain=0x[0-9a-f]+ address=0x([0-9a-f]+) flags=0x([0-9a-f]+)\]/;
const AMD_WRITE = 0x20;

/** The access that a line of the log tells of; null if it tells of none. */
export function parseDmaFault(line: string): DmaFault | null {
  const intel = INTEL.exec(line);
  if (intel) {
    const [, kind, device = '', address] = intel;
    return { device, address: BigInt(`0x${address}`), write: kind === 'Write' };
  }
  const amd = AMD.exec(line);
  if (amd) {
    const [, device = '', address, flags] = amd;
    const write = (Number(`0x${flags}`) & AMD_WRITE) !== 0;
    return { device, address: BigInt(`0x${address}`), write };
  }
  const virtio = VIRTIO.exec(line);
  if (!virtio) return null;
  const [, endpoint, address, flags = ''] = virtio;
  const id = Number(endpoint);
  const hex = (value: number) => value.toString(16).padStart(2, '0');
  return {
    device: `${hex(id >> 8)}:${hex((id >> 3) & 31)}.${id & 7}`,
    address: BigInt(`0x${address}`),
    write: flags.includes('W'),
  };
}

/** Reads the reports of blocked accesses from the kernel log. */
export class DmaFaults {
  readonly #log: KernelLog;
  readonly #found: DmaFault[] = [];

  /** Reports from now on. */
  constructor(context: Pick<TestContext, 'kernelLog'>) {
    this.#log = context.kernelLog();
  }

  /** All reports until now, oldest first. */
  all(): DmaFault[] {
    for (const line of this.#log.drain()) {
      const fault = parseDmaFault(line);
      if (fault) this.#found.push(fault);
    }
    return this.#found;
  }

  /** The reports about one function. */
  of(pci: PciFunction): DmaFault[] {
    return this.all().filter(({ device }) => pci.bdf.endsWith(`:${device}`));
  }

  /**
   * Repeats `attempt` until a report about `pci` is there: the kernel logs ten in five seconds and
   * drops the others. Null if none comes in half a minute.
   */
  provoke(pci: PciFunction, attempt: () => void): DmaFault | null {
    eventually(() => {
      attempt();
      return eventually(() => this.of(pci).length > 0, 300);
    }, 30_000);
    return this.of(pci)[0] ?? null;
  }
}
