import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bringUp, byId, changes, snapshot, type Snapshot } from './machine.ts';
import { OUTCOME, type Outcome } from './outcome.ts';
import { planExists, start, startProgram, until, type Running } from './program.ts';

/** Plays a scenario on the machine and leaves its outcome: see `rig.ts`. */

const results = process.env['RESULTS'] ?? '/tmp';
const outcome: Outcome = { rounds: 0, hits: 0, problems: [], outputs: {} };

/** Devices with and without a driver, with virtual functions, and a group of two. */
function spareDevices(): string[] {
  return ['1234:11e8', '8086:10c9', '8086:10d3', '1b36:0010'].flatMap((id) => [
    '--device',
    byId(id),
  ]);
}

/** Compares with the machine as it was; what differs is a problem. */
function compare(when: string, before: Snapshot): void {
  const found = changes(before, snapshot());
  outcome.problems.push(...found.map((text) => `${when}: ${text}`));
  writeFileSync(join(results, OUTCOME), JSON.stringify(outcome, null, 2));
}

/** A whole run as a user would start it, and the commands around it. */
async function whole(...ids: string[]): Promise<void> {
  const before = snapshot();
  outcome.outputs['devices'] = (await startProgram('devices').finished).output;
  const { code, output } = await start(
    'bin/vfio-conformance',
    'run',
    ...ids,
    ...spareDevices(),
    '--yes',
    '--results',
    join(results, 'run'),
  ).finished;
  outcome.outputs['run'] = `${output}exit code ${code}`;
  compare('after the run', before);
}

/** Kills the run at random moments, and now and then what restores after it. */
async function kills(rounds: number): Promise<void> {
  const run = (): Running =>
    startProgram(
      'run',
      'irq',
      ...spareDevices(),
      '--yes',
      '--results',
      `/tmp/run-${outcome.rounds}`,
    );
  const before = snapshot();
  const first = run();
  await until(planExists, first);
  const began = Date.now();
  outcome.outputs['undisturbed run'] = (await first.finished).output;
  const span = Date.now() - began;
  compare('after an undisturbed run', before);
  for (; outcome.rounds < rounds; outcome.rounds++) {
    const running = run();
    await until(planExists, running);
    await sleep(Math.random() * span);
    running.child.kill('SIGKILL');
    await running.finished;
    if (planExists()) outcome.hits++;
    const { code, output } = await startProgram('restore').finished;
    if (code !== 0 || planExists())
      outcome.problems.push(`round ${outcome.rounds}: restore: ${output}`);
    compare(`round ${outcome.rounds}`, before);
  }
}

bringUp();
const [scenario, ...args] = process.argv.slice(2);
if (scenario === 'whole') await whole(...args);
else if (scenario === 'kills') await kills(Number(args[0]));
else throw new Error(`no scenario ${scenario}`);
writeFileSync(join(results, OUTCOME), JSON.stringify(outcome, null, 2));
