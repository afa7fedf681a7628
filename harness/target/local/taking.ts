import { SetupError } from '../errors.ts';
import { bindAll, loadVfioPci, restorePlan } from './binding.ts';
import { checkPrivileges, chooseDevices, isRoot, type Choice } from './choose-devices.ts';
import { captureState } from './device-state.ts';
import { lockGroups } from './group-lock.ts';
import { restoreLeftovers } from './leftovers.ts';
import { makeCgroup, type MemoryBound } from './memory-cap.ts';
import type { PciFunction } from './pci-inventory.ts';
import { describePlan } from './plan-text.ts';
import { makePlan, storePlan } from './plan-store.ts';

/** What the user decides about the devices of this machine. */
export interface TakeOptions {
  /** Addresses, as `chooseDevices` takes them. */
  devices: string[];
  /** How much memory the run may take. */
  memory?: MemoryBound;
  /** Take away uses with which no data can be lost. */
  force: boolean;
  /** Shows the plan and asks. @throws UsageError if the user declines */
  agree(plan: string): Promise<void>;
  /** Says what is done meanwhile. */
  note(text: string): void;
}

/** Devices in the hands of vfio-pci, to be given back. */
export interface TakenDevices {
  bdfs: string[];
  /**
   * Puts everything back; safe to call twice. Called by itself when the process exits.
   * @returns what could not be put back, in words
   */
  giveBack(): string[];
}

/**
 * Takes devices for a run: checks, asks, writes the plan to the disk, binds.
 * @throws UsageError, SetupError; then everything is as it was
 */
export async function takeDevices(options: TakeOptions): Promise<TakenDevices> {
  const chosen = (): Choice => chooseDevices(options.devices, options.force);
  const { members, removed } = chosen();
  const groups = [...members, ...removed].flatMap(({ iommuGroup }) => iommuGroup ?? []);
  const locks = await lockGroups(groups);
  try {
    if (isRoot()) await healLeftovers(members, groups, options.note);
    const choice = chosen();
    checkPrivileges(choice);
    await options.agree(describePlan(choice, options.memory));
    return bind(chosen(), options.memory, locks.release);
  } catch (error) {
    locks.release();
    throw error;
  }
}

/** From the plan on the disk to the devices in vfio-pci's hands, in one go: no signal comes between. */
function bind(
  { named, members, removed }: Choice,
  memory: MemoryBound | undefined,
  release: () => void,
): TakenDevices {
  if (!isRoot()) {
    // They are with vfio-pci already, and this user can change nothing that would have to be put back.
    return { bdfs: named.map(({ bdf }) => bdf), giveBack: () => (release(), []) };
  }
  loadVfioPci();
  const cgroup = memory?.cgroup;
  const [devices, virtualFunctions] = [members, removed].map((functions) =>
    functions.map(({ bdf }) => captureState(bdf)),
  );
  const plan = makePlan(devices!, virtualFunctions, cgroup?.folder);
  const stored = { file: storePlan(plan), plan };
  let problems: string[] | undefined;
  const giveBack = (): string[] => {
    if (problems) return problems;
    process.off('exit', giveBack);
    problems = restorePlan(stored);
    release();
    return problems;
  };
  process.on('exit', giveBack);
  try {
    if (cgroup) makeCgroup(cgroup);
    bindAll(plan);
  } catch (error) {
    giveBack();
    throw error;
  }
  return { bdfs: named.map(({ bdf }) => bdf), giveBack };
}

/** What a run that was killed has left would fail this one, if it is of the same devices. */
async function healLeftovers(
  members: readonly PciFunction[],
  locked: readonly number[],
  note: (text: string) => void,
): Promise<void> {
  for (const { plan, outcome, problems, stays } of await restoreLeftovers(undefined, locked)) {
    note(`what a run of ${plan.madeAt} has left: ${[outcome, ...problems].join('; ')}`);
    const concerns = plan.devices.some(({ bdf }) => members.some((one) => one.bdf === bdf));
    if (stays && concerns)
      throw new SetupError(
        `an earlier run has left what cannot be put back: ${problems.join('; ')}`,
        'mend that and run `vfio-conformance restore`',
      );
  }
}
