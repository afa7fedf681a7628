import { existsSync } from 'node:fs';
import { setModuleParameter } from '../kernel/module-parameter.ts';
import { bindTo, unbind } from '../pci/binding.ts';
import type { PciFunction } from '../pci/topology.ts';
import type { Group } from '../vfio/group.ts';
import { groupNode } from '../vfio/nodes.ts';
import type { TestContext } from './context.ts';
import { functionInRole } from './machine.ts';
import type { Requirement } from './requirement.ts';

const PARAMETER = 'enable_unsafe_noiommu_mode';

/** Role of the device that is behind no IOMMU. */
export const NO_IOMMU_ROLE = 'no-iommu';

/** CONFIG_VFIO_NOIOMMU. */
export const NOIOMMU: Requirement = {
  name: 'noiommu',
  missing: () =>
    existsSync(`/sys/module/vfio/parameters/${PARAMETER}`)
      ? null
      : 'the kernel has no no-IOMMU mode (CONFIG_VFIO_NOIOMMU)',
};

/** Switches no-IOMMU mode on until the end of the test (root). */
export function allowNoIommu({ defer }: Pick<TestContext, 'defer'>): void {
  defer(setModuleParameter('vfio', PARAMETER, 'Y'));
}

/** Switches no-IOMMU mode off (root). Returns what puts it back as it was. */
export function forbidNoIommu(): () => void {
  return setModuleParameter('vfio', PARAMETER, 'N');
}

/** The function in {@link NO_IOMMU_ROLE} on vfio-pci in no-IOMMU mode; without a driver again after the test. */
export function bindWithoutIommu(context: Pick<TestContext, 'defer'>): PciFunction {
  const pci = functionInRole(NO_IOMMU_ROLE);
  if (!pci) throw new Error(`no device in the role '${NO_IOMMU_ROLE}': declare it in the test`);
  allowNoIommu(context);
  bindTo(pci, 'vfio-pci');
  context.defer(() => unbind(pci));
  return pci;
}

/** Path of the node of a group without an IOMMU (drivers/vfio/group.c vfio_create_group()). */
export function noIommuNode(pci: PciFunction): string {
  return groupNode(`noiommu-${pci.group}`);
}

/** Opens the group that VFIO made for a device without an IOMMU; closed after the test. */
export function openNoIommuGroup(
  { openFreshGroup }: Pick<TestContext, 'openFreshGroup'>,
  pci: PciFunction,
): Group {
  return openFreshGroup(`noiommu-${pci.group}`);
}
