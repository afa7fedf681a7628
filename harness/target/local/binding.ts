import { existsSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { commandPath } from '../../../setup/shell.mjs';
import { SetupError } from '../errors.ts';
import {
  bindToVfio,
  captureState,
  devicePath,
  differences,
  driverOf,
  putBack,
  VFIO_PCI,
  type DeviceState,
} from './device-state.ts';
import { removeCgroup } from './memory-cap.ts';
import { isFromEarlierBoot, removePlan, type Plan, type StoredPlan } from './plan-store.ts';
import { readOpenNodes, vfioNodes } from './use-nodes.ts';
import { waitWhile } from './waiting.ts';

/** Loads vfio-pci if it is neither loaded nor built in. @throws SetupError without it */
export function loadVfioPci(sys = '/sys'): void {
  if (existsSync(join(sys, 'bus/pci/drivers', VFIO_PCI))) return;
  try {
    execFileSync(commandPath('modprobe') ?? 'modprobe', [VFIO_PCI], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  } catch (error) {
    throw new SetupError(
      `the kernel has no ${VFIO_PCI}: ${(error as Error).message}`,
      'use a kernel with CONFIG_VFIO_PCI',
    );
  }
}

/** Gives all devices of a plan, which lies on the disk already, to vfio-pci. */
export function bindAll(plan: Plan): void {
  for (const { bdf } of plan.devices) bindToVfio(bdf);
  for (const { bdf } of plan.devices) {
    if (driverOf(bdf) !== VFIO_PCI)
      throw new SetupError(`${bdf} did not stay with ${VFIO_PCI}`, '`dmesg` may say why');
  }
}

/**
 * Puts back all that a plan names and removes the plan; a plan that cannot be put back stays, but not
 * for a device that is gone: the kernel has forgotten it, and knows nothing but its own of a new one. Both
 * the end of a run and `vfio-conformance restore` come here, as often as they like.
 * @returns what could not be put back, in words
 */
export function restorePlan({ file, plan }: StoredPlan): string[] {
  // Drivers, overrides and attributes are the kernel's memory: a boot has put them back.
  const isOver = isFromEarlierBoot(plan);
  const problems = isOver ? [] : restoreNow(plan);
  if (problems.length === 0) removePlan(file);
  const gone = isOver ? [] : plan.devices.filter(({ bdf }) => !existsSync(devicePath(bdf)));
  return [...problems, ...gone.map(({ bdf }) => `${bdf} is gone`)];
}

function restoreNow({ devices, virtualFunctions = [], cgroup }: Plan): string[] {
  // Virtual functions are there again when their physical one has its driver.
  const problems = [...devices, ...virtualFunctions].flatMap(restoreDevice);
  // It is empty as soon as nobody has the devices.
  const stays = cgroup === undefined ? null : removeCgroup(cgroup);
  return stays === null ? problems : [...problems, stays];
}

function restoreDevice(wanted: DeviceState): string[] {
  const { bdf } = wanted;
  const say = (text: string): string => `${bdf}: ${text}`;
  try {
    if (!existsSync(devicePath(bdf))) writeFileSync('/sys/bus/pci/rescan', '1');
    if (!existsSync(devicePath(bdf))) return [];
    const user = waitUntilFree(bdf);
    if (user !== null) return [say(`still open in process ${user}`)];
    putBack(wanted);
    return differences(wanted, captureState(bdf)).map(say);
  } catch (error) {
    return [say((error as Error).message)];
  }
}

/** Unbinding a device that is open would wait in the kernel for as long as it is. */
function waitUntilFree(bdf: string): string | null {
  return waitWhile(() => {
    const open = readOpenNodes();
    return vfioNodes(devicePath(bdf)).flatMap((node) => open.get(node) ?? [])[0] ?? null;
  });
}
