import { setModuleParameter } from '../kernel/module-parameter.ts';
import { trySetVfs, virtualFunctions } from '../pci/sriov.ts';
import type { PciFunction } from '../pci/topology.ts';
import type { TestContext } from './context.ts';

/** Lets the test's device have virtual functions while it is on vfio-pci (root); it has none again after the test. @returns the device */
export function allowVirtualFunctions({
  pci,
  defer,
}: Pick<TestContext, 'pci' | 'defer'>): PciFunction {
  defer(setModuleParameter('vfio_pci', 'enable_sriov', 'Y'));
  defer(() => void trySetVfs(pci, 0));
  return pci;
}

/** Gives the test's device virtual functions until the end of the test (root). @returns them, without a driver. */
export function makeVirtualFunctions(
  context: Pick<TestContext, 'pci' | 'defer'>,
  count = 1,
): PciFunction[] {
  const physical = allowVirtualFunctions(context);
  trySetVfs(physical, count).must();
  return virtualFunctions(physical);
}
