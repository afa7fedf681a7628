import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DISK, snapshot, type Snapshot } from './machine.ts';
import type { Outcome } from './outcome.ts';
import {
  compare,
  outcome,
  outputOf,
  report,
  restore,
  spareDevices,
  startRun,
  undisturbed,
} from './playing.ts';
import { planExists, startProgram, until } from './program.ts';

/** Of so many rounds one kills what restores, too, and restores by the command. */
const RESTORE_EVERY = 5;
/** What a power cut must not take: the rounds so far, and how the machine was at first. */
const MEMORY = join(DISK, 'memory.json');

/** Kills the run at random moments, and now and then what restores after it. */
export async function kills(rounds: number): Promise<void> {
  const before = snapshot();
  const span = await undisturbed(before);
  for (; outcome.rounds < rounds; outcome.rounds++) {
    const running = startRun();
    await until(planExists, running);
    const moment = Math.random() * span;
    await sleep(moment);
    running.child.kill('SIGKILL');
    await running.finished;
    if (planExists()) outcome.hits++;
    const when = `round ${outcome.rounds}, killed after ${Math.round(moment)} ms`;
    if (outcome.rounds % RESTORE_EVERY === 0) await restoreByCommand(when, span);
    else await restore(when);
    compare(when, before);
  }
}

/** Resets the machine at random moments; this begins again after each of them. */
export async function powerCuts(rounds: number): Promise<void> {
  const now = snapshot();
  const memory = existsSync(MEMORY)
    ? (JSON.parse(readFileSync(MEMORY, 'utf8')) as {
        outcome: Outcome;
        before: Snapshot;
        span: number;
      })
    : { outcome, before: now, span: await undisturbed(now) };
  Object.assign(outcome, memory.outcome);
  const { before, span } = memory;
  if (outcome.rounds > 0) {
    if (planExists()) outcome.hits++;
    await restore(`power cut ${outcome.rounds}`);
    compare(`power cut ${outcome.rounds}`, before, isKeptByBoot);
  }
  report();
  if (outcome.rounds === rounds) return;
  outcome.rounds++;
  const fd = openSync(MEMORY, 'w');
  writeFileSync(fd, JSON.stringify({ outcome, before, span }));
  fsyncSync(fd);
  closeSync(fd);
  await until(planExists, startRun());
  await sleep(Math.random() * span);
  // Resets the machine at once, without a sync (Documentation/admin-guide/sysrq.rst).
  writeFileSync('/proc/sysrq-trigger', 'b');
  await sleep(60_000);
}

/** A boot gives ports and other devices interrupt messages of its own choice. */
function isKeptByBoot(name: string): boolean {
  return !name.endsWith(' config') || spareDevices().some((bdf) => name.startsWith(bdf));
}

/** The command, killed on its way, then once more, then when there is nothing left to do. */
async function restoreByCommand(when: string, span: number): Promise<void> {
  const killed = startProgram('restore');
  await sleep(Math.random() * span);
  killed.child.kill('SIGKILL');
  await killed.finished;
  for (const time of ['first', 'second']) {
    const said = await outputOf(startProgram('restore'));
    if (!said.endsWith('exit code 0')) outcome.problems.push(`${when}, ${time} restore: ${said}`);
    if (planExists()) outcome.problems.push(`${when}: the plan is still there`);
  }
}
