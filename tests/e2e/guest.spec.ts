import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { readResults, resultsFolder, start } from './vfio-conformance.ts';

/** Process ids of the emulators that write into this results directory. */
function emulators(results: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return (
        readlinkSync(`/proc/${pid}/exe`).includes('qemu-system') &&
        readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(results)
      );
    } catch {
      return false; // no process, or it has gone
    }
  });
}

/** Looks every tenth of a second, until vitest's own limit. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(100);
}

function parentOf(pid: string): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The command's name, in parentheses, may itself hold spaces and parentheses.
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

it('runs the commands of --before and --after in the guest and keeps what they leave', async () => {
  const results = resultsFolder();
  const { code, output } = await start([
    'run',
    'container.api-version',
    '--results',
    results,
    '--before',
    'uname -r > $RESULTS/release',
    '--after',
    'dmesg > $RESULTS/dmesg; exit 3',
  ]).finished;
  expect(code, output).toBe(0);
  const { kernel } = readResults(results).run;
  expect(readFileSync(join(results, 'guest/release'), 'utf8').trim()).toBe(kernel);
  expect(readFileSync(join(results, 'guest/dmesg'), 'utf8')).toContain('end container.api-version');
  expect(output).toContain('--after ended with status 3');
  expect(emulators(results)).toEqual([]);
});

it('leaves no guest behind when the supervisor is killed', async () => {
  const results = resultsFolder();
  const run = start(['run', 'container.api-version', '--results', results]);
  await until(() => existsSync(results) && emulators(results).length > 0);
  const [emulator = ''] = emulators(results);
  process.kill(parentOf(emulator), 'SIGKILL');
  expect((await run.finished).code).not.toBe(0);
  await until(() => emulators(results).length === 0);
});
