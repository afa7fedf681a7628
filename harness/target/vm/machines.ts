import { SetupError } from '../../../setup/failure.mjs';
import type { Machine } from './machine.ts';
import { machine as acpiHotplug } from './machines/acpi-hotplug.ts';
import { machine as amdIommu } from './machines/amd-iommu.ts';
import { machine as defaultMachine } from './machines/default.ts';
import { machine as virtioIommu } from './machines/virtio-iommu.ts';

/** All machines, the default one first. */
export const MACHINES: Machine[] = [defaultMachine, virtioIommu, amdIommu, acpiHotplug];

/** @throws SetupError naming those that there are */
export function findMachine(name: string): Machine {
  const machine = MACHINES.find((one) => one.name === name);
  if (!machine)
    throw new SetupError(
      `no machine \`${name}\``,
      `give one of ${MACHINES.map((one) => one.name).join(', ')}`,
    );
  return machine;
}
