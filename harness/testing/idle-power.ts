import { moduleParameter } from '../kernel/module-parameter.ts';
import type { PciFunction } from '../pci/topology.ts';
import { runtimeStatus } from '../pci/runtime-power.ts';
import { eventually } from './eventually.ts';

/**
 * Functions that nobody uses. vfio-pci lets them sleep from its binding on, and again after every use
 * (drivers/vfio/pci/vfio_pci_core.c, unless `disable_idle_d3`): one that stays awake is still held by a
 * reference of its power management, which some path has lost.
 */
export class IdlePower {
  /** Those whose sleep the test can be blamed for. */
  readonly #functions: readonly PciFunction[];

  /** Begins with the test. */
  constructor(functions: readonly PciFunction[]) {
    const sleeps = moduleParameter('vfio_pci', 'disable_idle_d3') !== 'Y';
    const blamable = (pci: PciFunction) => pci.driver !== 'vfio-pci' || isAsleep(pci);
    this.#functions = sleeps ? functions.filter(blamable) : [];
  }

  /** The functions that do not fall asleep after the test, in words. */
  awake(): string[] {
    return this.#functions
      .filter((pci) => pci.driver === 'vfio-pci' && !eventually(() => isAsleep(pci)))
      .map(
        (pci) => `${pci.bdf} does not fall asleep (power/runtime_status: ${runtimeStatus(pci)})`,
      );
  }
}

function isAsleep(pci: PciFunction): boolean {
  return runtimeStatus(pci) === 'suspended';
}
