import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { startTime } from '../../../setup/lock.mjs';
import { SetupError } from '../errors.ts';
import type { DeviceState } from './device-state.ts';
import { namesIn, readText, tryReadText } from './files.ts';
import { absentModules } from './test-modules.ts';

/** What a run takes and how it was before: all that is needed to put it back. */
export interface Plan {
  schema: 1;
  /** /proc/sys/kernel/random/boot_id: bindings do not outlive a boot. */
  bootId: string;
  /** The run that made it. */
  pid: number;
  /** Its start in clock ticks since boot: a process id alone may be another's by now. */
  started: string;
  /** ISO time. */
  madeAt: string;
  devices: DeviceState[];
  /** Those that are removed with devices of the plan, and come back with them. */
  virtualFunctions?: DeviceState[];
  /** Folder of the cgroup that bounds the worker's memory. */
  cgroup?: string;
  /** Modules that tests may load, and that were not there. */
  unload?: string[];
}

/** A plan as it lies on the disk. */
export interface StoredPlan {
  file: string;
  plan: Plan;
}

/** Where plans lie: on a disk, not in a folder that a boot empties. */
export const PLAN_FOLDER = '/var/lib/vfio-conformance/plans';

/** Ends the name of a plan that is not whole: its run has touched nothing yet. */
const DRAFT = '.new';

export function makePlan(
  devices: DeviceState[],
  virtualFunctions: DeviceState[] = [],
  cgroup?: string,
): Plan {
  const { pid } = process;
  return {
    schema: 1,
    bootId: bootId(),
    pid,
    started: startTime(pid),
    madeAt: new Date().toISOString(),
    devices,
    virtualFunctions,
    cgroup,
    unload: absentModules(),
  };
}

/**
 * Writes a plan so that it is there, whole, after a power cut as well.
 * @returns its file
 * @throws SetupError if it cannot be written
 */
export function storePlan(plan: Plan, folder = PLAN_FOLDER): string {
  const file = join(folder, `${ownerOf(plan)}.json`);
  const draft = file + DRAFT;
  try {
    makeDurableFolder(folder);
    const fd = openSync(draft, 'w');
    try {
      // Goes on after a short write, which a disk that is nearly full answers without an error.
      writeFileSync(fd, JSON.stringify(plan, null, 2) + '\n');
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(draft, file);
    syncFolder(folder);
  } catch (error) {
    if (existsSync(draft)) rmSync(draft);
    throw new SetupError(
      `the plan cannot be written, so nothing was touched: ${(error as Error).message}`,
      `make room in ${folder} and see that it can be written to`,
    );
  }
  return file;
}

export function removePlan(file: string): void {
  rmSync(file, { force: true });
  syncFolder(dirname(file));
}

/** Removes what runs have left that were killed while they wrote their plan. */
export function removeDrafts(folder = PLAN_FOLDER): void {
  for (const name of namesIn(folder).filter((name) => name.endsWith(DRAFT))) {
    const pid = Number(name.split('-')[1]);
    const living = ownerOf({ bootId: bootId(), pid, started: startTime(pid) });
    if (name !== `${living}.json${DRAFT}`) rmSync(join(folder, name), { force: true });
  }
}

/** All plans on the disk, those of runs that still go on included, but for {@link damagedPlans}. */
export function storedPlans(folder = PLAN_FOLDER): StoredPlan[] {
  return planFiles(folder).flatMap(({ file, plan }) => (plan === null ? [] : [{ file, plan }]));
}

/** Files that hold no plan: somebody has changed them, or the disk has lost what was written. */
export function damagedPlans(folder = PLAN_FOLDER): string[] {
  return planFiles(folder).flatMap(({ file, plan }) => (plan === null ? [file] : []));
}

function planFiles(folder: string): { file: string; plan: Plan | null }[] {
  return namesIn(folder)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => {
      const file = join(folder, name);
      const text = tryReadText(file);
      // Its run has ended, or was put back, since the folder was read.
      return text === null ? [] : [{ file, plan: parsePlan(text) }];
    });
}

function parsePlan(text: string): Plan | null {
  try {
    return JSON.parse(text) as Plan;
  } catch {
    return null;
  }
}

/** Whether the run that made the plan still goes on. */
export function isOwned({ bootId: boot, pid, started }: Plan): boolean {
  return boot === bootId() && startTime(pid) === started;
}

/** Whether the machine has been booted since: then nothing of the run is left. */
export function isFromEarlierBoot({ bootId: boot }: Plan): boolean {
  return boot !== bootId();
}

/** The name of a run, as a file can bear it. */
function ownerOf({ bootId: boot, pid, started }: Pick<Plan, 'bootId' | 'pid' | 'started'>): string {
  return [boot.slice(0, 8), pid, started].join('-');
}

function bootId(): string {
  return readText('/proc/sys/kernel/random/boot_id');
}

function makeDurableFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeDurableFolder(dirname(folder));
  mkdirSync(folder, { recursive: true });
  syncFolder(dirname(folder));
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
