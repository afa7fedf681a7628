import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { PCI_STD_HEADER_SIZEOF } from '../abi/pci-regs.ts';
import { denied } from '../kernel/access.ts';

const DEVICES = '/sys/bus/pci/devices';

/** A PCI function as sysfs shows it (Documentation/ABI/testing/sysfs-bus-pci). Every read is fresh. */
export class PciFunction {
  /** `0000:00:04.0` */
  readonly bdf: string;

  constructor(bdf: string) {
    this.bdf = bdf;
  }

  /** The name by which VFIO knows it. */
  get name(): string {
    return this.bdf;
  }

  get path(): string {
    return join(DEVICES, this.bdf);
  }

  get exists(): boolean {
    return existsSync(this.path);
  }

  /** Text of a sysfs attribute, trimmed. @throws ENOENT if there is none. */
  attribute(name: string): string {
    return readFileSync(join(this.path, name), 'utf8').trim();
  }

  /** A numeric attribute such as `vendor` (0x8086). */
  number(name: string): number {
    return Number(this.attribute(name));
  }

  get vendor(): number {
    return this.number('vendor');
  }

  get device(): number {
    return this.number('device');
  }

  /** 24-bit class code. */
  get class(): number {
    return this.number('class');
  }

  /** Bridges (class 0x06, header type 1) take no VFIO driver. */
  get isBridge(): boolean {
    return this.class >> 8 === 0x0604;
  }

  /** Name of the bound driver, or null. */
  get driver(): string | null {
    try {
      return basename(readlinkSync(join(this.path, 'driver')));
    } catch {
      return null;
    }
  }

  /** Number of the IOMMU group, or null without an IOMMU. */
  get group(): string | null {
    try {
      return basename(readlinkSync(join(this.path, 'iommu_group')));
    } catch {
      return null;
    }
  }

  /**
   * The whole configuration space as the kernel's own driver would read it.
   * @throws EACCES for who is not root: the kernel shows them the header alone
   */
  config(): Buffer {
    const path = join(this.path, 'config');
    const bytes = readFileSync(path);
    if (bytes.length > PCI_STD_HEADER_SIZEOF) return bytes;
    throw denied('EACCES', path, 'only root may read all of');
  }

  /** Start, end and flags of each line of `resource`: BARs 0–5, then the ROM, then bridge windows. */
  resources(): { start: bigint; end: bigint; flags: bigint; size: bigint }[] {
    return this.attribute('resource')
      .split('\n')
      .map((line) => {
        const [start = 0n, end = 0n, flags = 0n] = line.split(' ').map(BigInt);
        return { start, end, flags, size: end === 0n ? 0n : end - start + 1n };
      });
  }

  /** The function above this one (a port or bridge), or null on a root bus. */
  get parent(): PciFunction | null {
    const above = basename(join(realpathSync(this.path), '..'));
    return /^[0-9a-f]{4,}:/.test(above) && above.includes('.') ? new PciFunction(above) : null;
  }

  /** The functions directly below this one: the devices behind a port or bridge. */
  get children(): PciFunction[] {
    return readdirSync(realpathSync(this.path))
      .filter((name) => /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/.test(name))
      .map((name) => new PciFunction(name));
  }
}

/** The members of an IOMMU group. */
export function groupMembers(group: string): PciFunction[] {
  return readdirSync(`/sys/kernel/iommu_groups/${group}/devices`)
    .sort()
    .map((bdf) => new PciFunction(bdf));
}

/**
 * Walks `slot.function` steps down from the root bus: bus numbers are the firmware's choice, the
 * path is the machine's. The first step names the root bus if it is another than 0: `80:00.0`. Null if
 * nothing is there.
 */
export function functionAt(steps: readonly string[]): PciFunction | null {
  const [first, ...rest] = steps;
  let found: PciFunction | null = new PciFunction(
    first?.includes(':') ? `0000:${first}` : `0000:00:${first}`,
  );
  for (const step of rest) {
    found = found.exists
      ? (found.children.find((child) => child.bdf.endsWith(`:${step}`)) ?? null)
      : null;
    if (!found) return null;
  }
  return found.exists ? found : null;
}
