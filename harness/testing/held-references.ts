import { moduleUsers } from '../kernel/modules.ts';
import type { PciFunction } from '../pci/topology.ts';
import { eventually } from './eventually.ts';
import { ownsMachine } from './machine.ts';

/** Modules that are in use as long as a device is open, or a container has an IOMMU. */
const MODULES = ['vfio_pci', 'vfio_iommu_type1'];

/**
 * What VFIO counts while something is open and the kernel shows to everybody: the users of its modules
 * (vfio_df_device_first_open(), vfio_ioctl_set_iommu()), and how often a PCI function is enabled
 * (vfio_pci_core_enable()). Who is alone on the machine finds each count as it was when all is closed.
 */
export class HeldReferences {
  readonly #functions: readonly PciFunction[];
  readonly #before;

  /** Begins with the test. */
  constructor(functions: readonly PciFunction[]) {
    this.#functions = ownsMachine() ? functions : [];
    this.#before = this.#counts(['vfio-pci', null]);
  }

  /** What is counted more often after the test, in words. */
  held(): string[] {
    const more = () =>
      [...this.#counts(['vfio-pci'])].filter(
        ([name, count]) => count > (this.#before.get(name) ?? Infinity),
      );
    if (eventually(() => more().length === 0)) return [];
    return more().map(([name, count]) => `${name}: ${count}, it was ${this.#before.get(name)}`);
  }

  /** @param drivers of the functions that count: one of the host enables its functions for itself. */
  #counts(drivers: readonly (string | null)[]): Map<string, number> {
    if (!ownsMachine()) return new Map();
    const counts = new Map<string, number>();
    for (const name of MODULES) {
      const users = moduleUsers(name);
      if (users !== null) counts.set(`users of ${name}`, users);
    }
    for (const pci of this.#functions) {
      if (drivers.includes(pci.driver)) {
        counts.set(`'enable' of ${pci.bdf}`, pci.number('enable'));
      }
    }
    return counts;
  }
}
