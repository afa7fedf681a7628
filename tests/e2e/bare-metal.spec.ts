import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { playOnMachine } from './bare-metal/rig.ts';
import { readResults, resultsFolder } from './vfio-conformance.ts';

const MINUTE = 60_000;

describe('a run on the devices of a machine', () => {
  it('tests them, gives them back and leaves disk and network alone', async () => {
    const folder = resultsFolder();
    const { problems, outputs } = await playOnMachine('whole device.info', folder, 15 * MINUTE);
    expect(outputs['devices']).toContain('in use: vda is mounted at /mnt');
    expect(outputs['devices']).toMatch(/in use: eth\d has the address 10\.0\.2\.15/);
    expect(outputs['run']).toContain('exit code 0');
    const { summary } = readResults(join(folder, 'guest/run'));
    expect(summary.fail + summary.error + summary.crash).toBe(0);
    expect(summary.pass).toBeGreaterThan(10);
    expect(problems).toEqual([]);
    expect(readFileSync(join(folder, 'console.log'), 'latin1')).not.toMatch(/Oops|WARNING:/);
  });
});
