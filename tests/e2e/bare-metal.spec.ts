import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { playOnMachine } from './bare-metal/rig.ts';
import { readResults, resultsFolder } from './vfio-conformance.ts';

const MINUTE = 60_000;
/** Rounds; `npm run test:kills` asks for 200 and 50. Without them what takes long is left out. */
const KILLS = Number(process.env['VFIO_CONFORMANCE_KILLS'] ?? 0);
const POWER_CUTS = Number(process.env['VFIO_CONFORMANCE_POWER_CUTS'] ?? 0);
/** For one of them with all that belongs to it, on a machine that has much else to do. */
const ROUND_MS = 6 * MINUTE;

const limit = (rounds: number): number => 25 * MINUTE + rounds * ROUND_MS;

describe('a run on the devices of a machine', () => {
  it(
    'tests them, gives them back and leaves disk and network alone',
    async () => {
      const folder = resultsFolder();
      const { problems, outputs } = await playOnMachine(
        'whole device.info device.hot-reset.single',
        folder,
        limit(0),
      );
      expect(outputs['devices']).toContain('in use: vda is mounted at /mnt');
      expect(outputs['devices']).toMatch(/in use: eth\d has the address 10\.0\.2\.15/);
      expect(outputs['run']).toContain('0000:7f:1f.7 is gone');
      expect(outputs['run']).toContain('exit code 0');
      expect(outputs['run']).toContain('--allow hot-reset');
      const { summary } = readResults(join(folder, 'guest/run'));
      expect(summary.fail + summary.error + summary.crash).toBe(0);
      expect(summary.pass).toBeGreaterThan(10);
      expect(problems).toEqual([]);
      expect(readFileSync(join(folder, 'console.log'), 'latin1')).not.toMatch(/Oops|WARNING:/);
    },
    limit(0),
  );

  it.runIf(KILLS > 0)(
    'needs no root for devices whose group the user owns, and skips what needs more',
    async () => {
      const { problems, outputs } = await playOnMachine('unprivileged', resultsFolder(), limit(0));
      expect(outputs['run']).toContain('exit code 0');
      expect(outputs['run']).toMatch(/it needs root: \/sys\/bus\/pci/);
      expect(outputs['run']).toMatch(/this user may lock/);
      expect(outputs['foreign']).toMatch(/only root can give .* to vfio-pci/);
      expect(problems).toEqual([]);
    },
    limit(0),
  );
});

describe('a run among others', () => {
  it(
    'gives the devices back and keeps its results when a signal ends it',
    async () => {
      const { problems, outputs } = await playOnMachine('signals', resultsFolder(), limit(0));
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) {
        expect(outputs[name]).toContain(`${name}: ending the run`);
        expect(outputs[name]).toContain('exit code 130');
      }
      expect(problems).toEqual([]);
    },
    limit(0),
  );

  it(
    'leaves groups to the run that has them, and devices to those who use them',
    async () => {
      const { problems, outputs } = await playOnMachine('neighbours', resultsFolder(), limit(0));
      expect(outputs['priorities']).toMatch(/^7( 7)+$/);
      expect(outputs['second']).toMatch(
        /is taken by another run of vfio-conformance.*exit code 2/s,
      );
      expect(outputs['first']).toContain('exit code 0');
      expect(outputs['mounted']).toMatch(/vda is mounted at \/mnt.*--force does not help/s);
      expect(outputs['mounted']).toContain('exit code 2');
      expect(outputs['addressed']).toMatch(
        /has the address 10\.0\.3\.1.*with --force.*exit code 2/s,
      );
      expect(outputs['forced']).toContain('exit code 0');
      expect(problems).toEqual([]);
    },
    limit(0),
  );
});

describe('restoring', () => {
  it(
    'gives each session devices as the first one had them, and takes none from a new owner',
    async () => {
      const { problems, outputs } = await playOnMachine('restoring', resultsFolder(), limit(0));
      expect(outputs['changed']).toBe('');
      expect(outputs['settled']).toBe('true');
      expect(outputs['restore']).toMatch(/is left as it is: pci-stub has it since/);
      expect(outputs['restore']).toContain('exit code 3');
      expect(outputs['driver']).toBe('pci-stub');
      expect(problems).toEqual([]);
    },
    limit(0),
  );
});

describe.runIf(KILLS > 0)('--memory', () => {
  it(
    'holds the run to it where a cgroup can, and says so where none can',
    async () => {
      const { problems, outputs } = await playOnMachine('memory-bound', resultsFolder(), limit(0));
      expect(outputs['nothing holds it']).toMatch(/nothing holds the others to it: cgroup v2/);
      expect(outputs['nothing holds it']).toContain('exit code 0');
      expect(outputs['a cgroup holds it']).toContain('at most 1024 MiB, by a cgroup');
      expect(outputs['a cgroup holds it']).toMatch(/took more than --memory allows.*exit code 3/s);
      const peaks = JSON.parse(outputs['peaks']!) as { run: number; worker: number };
      process.stdout.write(`at most ${peaks.run + peaks.worker} of ${2 ** 30} bytes\n`);
      expect(peaks.worker).toBeGreaterThan(2 ** 28);
      expect(peaks.run + peaks.worker).toBeLessThanOrEqual(2 ** 30);
      expect(problems).toEqual([]);
    },
    limit(0),
  );
});

describe.runIf(KILLS > 0)('the machine is as it was before', () => {
  it(
    `after a run was killed, ${KILLS} times`,
    async () => {
      const played = await playOnMachine(`kills ${KILLS}`, resultsFolder(), limit(KILLS));
      process.stdout.write(`${played.rounds} kills, ${played.hits} while devices were taken\n`);
      expect(played.problems).toEqual([]);
      expect(played.rounds).toBe(KILLS);
    },
    limit(KILLS),
  );

  it(
    `after a power cut, ${POWER_CUTS} times`,
    async () => {
      const played = await playOnMachine(
        `power-cuts ${POWER_CUTS}`,
        resultsFolder(),
        limit(POWER_CUTS),
      );
      process.stdout.write(`${played.rounds} power cuts, ${played.hits} plans survived\n`);
      expect(played.problems).toEqual([]);
      expect(played.rounds).toBe(POWER_CUTS);
    },
    limit(POWER_CUTS),
  );

  it(
    'after memory or disk space has run out',
    async () => {
      const { problems, outputs } = await playOnMachine('shortages', resultsFolder(), limit(5));
      expect(problems).toEqual([]);
      expect(outputs['full results']).toMatch(/nothing more can be written.*ENOSPC.*exit code 3/s);
      for (const line of outputs['journal']!.trim().split('\n'))
        expect(() => JSON.parse(line) as unknown, line).not.toThrow();
      expect(outputs['closed results']).toMatch(/no results can be written.*exit code 2/s);
      expect(outputs['no room for the plan']).toMatch(/nothing was touched.*exit code 3/s);
    },
    limit(5),
  );
});
