import { existsSync, writeFileSync } from 'node:fs';
import { SetupError } from '../errors.ts';
import {
  bindToVfio,
  captureState,
  devicePath,
  differences,
  driverOf,
  loadDriver,
  newOwner,
  putBack,
  VFIO_PCI,
  type DeviceState,
} from './device-state.ts';
import { removeCgroup } from './memory-cap.ts';
import { unloadModules } from './test-modules.ts';
import { isFromEarlierBoot, removePlan, type Plan, type StoredPlan } from './plan-store.ts';
import { readOpenNodes, vfioNodes } from './use-nodes.ts';
import { waitWhile } from './waiting.ts';

/** Loads vfio-pci if it is neither loaded nor built in. @throws SetupError without it */
export function loadVfioPci(sys = '/sys'): void {
  try {
    loadDriver(VFIO_PCI, sys);
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

/** How putting back went, in words. */
interface Restored {
  /** What has still to be put back. */
  problems: string[];
  /** What is not for us to put back any more. */
  left: string[];
}

/**
 * Puts back all that a plan names and removes the plan; a plan that cannot be put back stays, but not
 * for a device that is gone, which the kernel has forgotten, nor for one that its owner has given to somebody
 * else since. Both the end of a run and `vfio-conformance restore` come here, as often as they like.
 * @returns what was not put back, in words
 */
export function restorePlan({ file, plan }: StoredPlan): string[] {
  // Drivers, overrides and attributes are the kernel's memory: a boot has put them back.
  const { problems, left } = isFromEarlierBoot(plan)
    ? { problems: [], left: [] }
    : restoreNow(plan);
  if (problems.length === 0) removePlan(file);
  return [...problems, ...left];
}

function restoreNow({ devices, virtualFunctions = [], cgroup, unload = [] }: Plan): Restored {
  // Virtual functions are there again when their physical one has its driver.
  const each = [...devices, ...virtualFunctions].map(restoreDevice);
  // It is empty as soon as nobody has the devices.
  const stays = cgroup === undefined ? null : removeCgroup(cgroup);
  return {
    problems: [
      ...each.flatMap(({ problems }) => problems),
      ...unloadModules(unload),
      ...(stays === null ? [] : [stays]),
    ],
    left: each.flatMap(({ left }) => left),
  };
}

function restoreDevice(wanted: DeviceState): Restored {
  const { bdf } = wanted;
  const stays = (...texts: string[]): Restored => ({
    problems: texts.map((text) => `${bdf}: ${text}`),
    left: [],
  });
  try {
    if (!existsSync(devicePath(bdf))) writeFileSync('/sys/bus/pci/rescan', '1');
    if (!existsSync(devicePath(bdf))) return { problems: [], left: [`${bdf} is gone`] };
    const owner = newOwner(wanted, captureState(bdf));
    if (owner !== null) return { problems: [], left: [`${bdf} is left as it is: ${owner}`] };
    const user = waitUntilFree(bdf);
    if (user !== null) return stays(`still open in process ${user}`);
    return stays(...putBack(wanted), ...differences(wanted, captureState(bdf)));
  } catch (error) {
    return stays((error as Error).message);
  }
}

/**
 * Puts devices that stay taken back into the states that they had at first, for a session after one that
 * did not come to its end.
 * @returns what could not be put back, in words
 */
export function settle(states: readonly DeviceState[]): string[] {
  return states.flatMap((wanted) => {
    const user = waitUntilFree(wanted.bdf);
    const problems = user === null ? putBack(wanted) : [`still open in process ${user}`];
    return problems.map((text) => `${wanted.bdf}: ${text}`);
  });
}

/** Unbinding a device that is open would wait in the kernel for as long as it is. */
function waitUntilFree(bdf: string): string | null {
  return waitWhile(() => {
    const open = readOpenNodes();
    return vfioNodes(devicePath(bdf)).flatMap((node) => open.get(node) ?? [])[0] ?? null;
  });
}
