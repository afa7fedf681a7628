import { writeSync } from 'node:fs';
import { SetupError } from '../errors.ts';
import { notPutBack } from '../not-put-back.ts';
import { bindAll, loadVfioPci, restorePlan, settle } from './binding.ts';
import { checkPrivileges, chooseDevices, isRoot, type Choice } from './choose-devices.ts';
import { captureState } from './device-state.ts';
import { groupsOf, lockGroups } from './group-lock.ts';
import { damage, restoreLeftovers } from './leftovers.ts';
import { makeCgroup, type MemoryBound } from './memory-cap.ts';
import { describePlan } from './plan-text.ts';
import { damagedPlans, makePlan, storePlan } from './plan-store.ts';

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
   * Puts back what tests change of devices that stay taken, for a session after one that was cut off.
   * @returns what could not be put back, in words
   */
  settle(): string[];
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
  const groups = groupsOf(...members, ...removed);
  const locks = [await lockGroups(groups)];
  const release = (): void => locks.forEach((held) => held.release());
  try {
    if (isRoot()) await healLeftovers(groups, options.note);
    const choice = chosen();
    // Virtual functions have come back with what was put back.
    const all = groupsOf(...choice.members, ...choice.removed);
    locks.push(await lockGroups(all.filter((group) => !groups.includes(group))));
    checkPrivileges(choice);
    const shown = planOf(choice);
    await options.agree(describePlan(choice, options.memory));
    const agreed = chosen();
    if (planOf(agreed) !== shown)
      throw new SetupError(
        'the devices or what uses them have changed while the plan was shown',
        'start the run again: it shows how they are now',
      );
    return bind(agreed, options.memory, release);
  } catch (error) {
    release();
    throw error;
  }
}

/** What somebody agrees to. */
function planOf({ named, members, removed, forced }: Choice): string {
  return JSON.stringify([named, members, removed, forced]);
}

/** From the plan on the disk to the devices in vfio-pci's hands, in one go: no signal comes between. */
function bind(
  { named, members, removed }: Choice,
  memory: MemoryBound | undefined,
  release: () => void,
): TakenDevices {
  if (!isRoot()) {
    // They are with vfio-pci already, and this user can change nothing that would have to be put back.
    return { bdfs: named.map(({ bdf }) => bdf), settle: () => [], giveBack: () => (release(), []) };
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
    process.off('exit', atExit);
    problems = restorePlan(stored);
    release();
    return problems;
  };
  const atExit = (): void => tellLastly(giveBack());
  process.on('exit', atExit);
  try {
    if (cgroup) makeCgroup(cgroup);
    bindAll(plan);
    const taken = members.map(({ bdf }) => captureState(bdf));
    return { bdfs: named.map(({ bdf }) => bdf), settle: () => settle(taken), giveBack };
  } catch (error) {
    tellLastly(giveBack());
    throw error;
  }
}

/** At the end of a process, when only what is written synchronously is still written. */
function tellLastly(problems: readonly string[]): void {
  if (problems.length === 0) return;
  try {
    writeSync(process.stderr.fd, `vfio-conformance: ${notPutBack(problems)}\n`);
  } catch {
    // The terminal is closed: `vfio-conformance restore` tells it anew.
  }
}

/** What a run that was killed has left of these groups would fail this one. */
async function healLeftovers(
  locked: readonly number[],
  note: (text: string) => void,
): Promise<void> {
  for (const file of damagedPlans()) note(damage(file));
  for (const { plan, outcome, problems, stays } of await restoreLeftovers(undefined, locked)) {
    note(`what a run of ${plan.madeAt} has left: ${[outcome, ...problems].join('; ')}`);
    if (stays)
      throw new SetupError(
        `an earlier run has left what cannot be put back: ${problems.join('; ')}`,
        'mend that and run `vfio-conformance restore`',
      );
  }
}
