import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { restoreLeftovers } from '../../../harness/target/local/leftovers.ts';
import { byId, changes, snapshot, type Snapshot } from './machine.ts';
import { OUTCOME, type Outcome } from './outcome.ts';
import { planExists, startProgram, until, type Running } from './program.ts';

/** What all scenarios do: start runs, compare the machine, leave an outcome. */

export const results = process.env['RESULTS'] ?? '/tmp';
export const outcome: Outcome = { rounds: 0, hits: 0, problems: [], outputs: {} };

/** Devices with and without a driver, with virtual functions, and a disk controller. */
export function spareDevices(): string[] {
  return ['1234:11e8', '8086:10c9', '8086:10d3', '1b36:0010'].flatMap((id) => [
    '--device',
    byId(id),
  ]);
}

export function startRun(directory = '/tmp/run', ...more: string[]): Running {
  // Hundreds of them would fill the memory in which they lie.
  rmSync(directory, { recursive: true, force: true });
  const args = [...spareDevices(), '--yes', '--results', directory, ...more];
  return startProgram('run', 'e2e.changes', ...args);
}

/** Compares with the machine as it was; what differs is a problem. */
export function compare(
  when: string,
  before: Snapshot,
  counts: (name: string) => boolean = () => true,
) {
  const found = changes(before, snapshot()).filter((text) => counts(text.split(': ', 1)[0]!));
  outcome.problems.push(...found.map((text) => `${when}: ${text}`));
  report();
}

export function report(): void {
  writeFileSync(join(results, OUTCOME), JSON.stringify(outcome, null, 2));
}

/** A run that nobody disturbs; milliseconds for which it has the devices. */
export async function undisturbed(before: Snapshot): Promise<number> {
  const running = startRun();
  await until(planExists, running);
  const began = Date.now();
  await until(() => !planExists(), running);
  const span = Date.now() - began;
  outcome.outputs['undisturbed run'] = await outputOf(running);
  compare('after an undisturbed run', before);
  return span;
}

export async function outputOf(running: Running): Promise<string> {
  const { code, output } = await running.finished;
  return `${output}exit code ${code}`;
}

export async function restore(when: string): Promise<void> {
  for (const { problems } of await restoreLeftovers())
    outcome.problems.push(...problems.map((text) => `${when}: ${text}`));
  if (planExists()) outcome.problems.push(`${when}: the plan is still there`);
}
