import { setModuleParameter } from '../kernel/module-parameter.ts';
import { isUnloadable, loadModule, unloadModule } from '../kernel/modules.ts';
import { endpointsOfGroup, unbind } from '../pci/binding.ts';
import type { PciFunction } from '../pci/topology.ts';

/** Loads vfio-pci anew (root; none of its devices may be open). @returns what loads it without parameters. */
export function reloadVfioPci(...parameters: string[]): () => void {
  const load = (...words: string[]) => {
    unloadModule('vfio-pci');
    loadModule('vfio-pci', ...words);
  };
  load(...parameters);
  return () => load();
}

/**
 * Switches a parameter of vfio-pci on for functions that are bound afterwards (root). Older kernels read
 * it only when the module is loaded, newer ones when a device is bound, whose value it then keeps: the
 * functions and all in their groups are unbound.
 * @returns what switches it off; the functions are without a driver then, or on vfio-pci anew.
 */
export function switchOnForVfioPci(
  parameter: 'nointxmask' | 'disable_idle_d3',
  functions: readonly PciFunction[],
): () => void {
  const release = () => {
    for (const pci of functions) for (const member of endpointsOfGroup(pci)) unbind(member);
  };
  release();
  if (isUnloadable('vfio_pci')) return reloadVfioPci(`${parameter}=1`);
  const restore = setModuleParameter('vfio_pci', parameter, 'Y');
  return () => {
    release();
    restore();
  };
}
