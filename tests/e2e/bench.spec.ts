import { beforeAll, describe, expect, it } from 'vitest';
import { join } from 'node:path';
import { COUNTED_CLOCK } from '../../harness/target/clock.ts';
import type { BenchResults } from '../../reports/bench-results.ts';
import { compareBenches, type Verdict } from '../../reports/bench/compare.ts';
import { readBench } from '../../reports/bench/directory.ts';
import { resultsFolder, start } from './vfio-conformance.ts';

const COMPARED = ['container.dma.4k.4KiB.warm.map', 'irq.loopback.msi.read'];
const KERNEL = 'trixie-backports';
const TRIALS = 20;
/** Rounds of a trial. */
const ROUNDS = 10;

/** Measures the default kernel against itself; the results of both sides. */
async function againstItself(
  ...more: string[]
): Promise<{ sides: [BenchResults, BenchResults]; output: string }> {
  const folder = resultsFolder();
  const { code, output } = await start([
    'bench',
    ...['container.dma.4k.4KiB.warm', 'irq.loopback.msi.read'],
    ...['--kernel', KERNEL, '--kernel', KERNEL],
    ...['--quick', '--rounds', String(TRIALS * ROUNDS), '--round-ms', '5', '--samples', '50'],
    ...['--results', folder, '--quiet', ...more],
  ]).finished;
  expect([0, 1], output).toContain(code);
  const sides = ['1', '2'].map((side) => readBench(join(folder, `${side}-${KERNEL}`)));
  return { sides: sides as [BenchResults, BenchResults], output };
}

/** Whether what else the host did has no part in the figures. */
function counts({ run }: BenchResults): boolean {
  return run.environment['clock'] === COUNTED_CLOCK;
}

/** Some rounds of what is compared, as if there had been no others. */
function trial(results: BenchResults, number: number): BenchResults {
  const compared = results.benchmarks.filter(({ id }) => COMPARED.includes(id));
  return {
    ...results,
    benchmarks: compared.map((bench) => ({
      ...bench,
      rounds: bench.rounds.slice(number * ROUNDS, (number + 1) * ROUNDS),
    })),
  };
}

/** What each trial says of each compared operation. */
function verdicts([a, b]: readonly [BenchResults, BenchResults]): Verdict[] {
  return Array.from({ length: TRIALS }, (_, number) => {
    const { operations } = compareBenches(trial(a, number), trial(b, number), 5);
    return operations.map(({ verdict }) => verdict);
  }).flat();
}

describe('a kernel measured against itself, round by round', () => {
  let sides: [BenchResults, BenchResults];
  let output: string;

  beforeAll(async () => ({ sides, output } = await againstItself()));

  it('shows no difference in any trial', () => {
    const claimed = verdicts(sides).filter((verdict) => ['slower', 'faster'].includes(verdict));
    expect(claimed, output).toEqual([]);
  });

  it('has figures for every operation, and the machine they were taken on', () => {
    for (const { run, benchmarks } of sides) {
      expect(run.outcome).toBe('finished');
      expect(run.environment).toHaveProperty('SHA-256 of the kernel image');
      for (const bench of benchmarks) {
        expect(bench.status, bench.id).toBe('pass');
        expect(bench.summary?.min, bench.id).toBeGreaterThan(0);
      }
    }
  });

  it('is compared with the C program', () => {
    for (const id of COMPARED) {
      const bench = sides[0].benchmarks.find((one) => one.id === id);
      expect(Math.abs((bench?.fidelity?.ratio ?? 0) - 1), id).toBeLessThan(
        counts(sides[0]) ? 0.1 : 0.25,
      );
    }
  });
});

it('finds a delay of 10 % that was planted, in every trial', async () => {
  const { sides, output } = await againstItself('--plant-delay', '10');
  const found = verdicts(sides);
  // On a busy host, a clock that does not count instructions leaves some trials too noisy to tell.
  const accepted = counts(sides[0]) ? ['slower'] : ['slower', 'noisy'];
  expect(
    found.filter((verdict) => !accepted.includes(verdict)),
    output,
  ).toEqual([]);
  expect(found, output).toHaveLength(TRIALS * COMPARED.length);
});
