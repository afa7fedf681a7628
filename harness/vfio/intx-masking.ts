import { existsSync } from 'node:fs';
import { setModuleParameter } from '../kernel/module-parameter.ts';
import { loadModule, unloadModule } from '../kernel/modules.ts';
import { endpointsOfGroup, unbind } from '../pci/binding.ts';
import type { PciFunction } from '../pci/topology.ts';

/**
 * Makes vfio-pci take functions for devices without DisINTx (its parameter `nointxmask`): it then
 * masks their INTx at the interrupt controller and shares the line with nobody. Older kernels read the
 * parameter only when the module is loaded, newer ones when a device is bound; functions bound
 * before are unbound either way. Root.
 * @returns what puts it back; the functions are without a driver then.
 */
export function withoutDisIntx(functions: readonly PciFunction[]): () => void {
  const isModule = existsSync('/sys/module/vfio_pci/initstate');
  const release = () => {
    for (const pci of functions) for (const member of endpointsOfGroup(pci)) unbind(member);
  };
  release();
  if (!isModule) {
    const restore = setModuleParameter('vfio_pci', 'nointxmask', 'Y');
    return () => {
      release();
      restore();
    };
  }
  unloadModule('vfio-pci');
  loadModule('vfio-pci', 'nointxmask=1');
  return () => {
    unloadModule('vfio-pci');
    loadModule('vfio-pci');
  };
}
