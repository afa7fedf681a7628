import { beforeAll, describe, expect, it } from 'vitest';
import { join } from 'node:path';
import { COUNTED_CLOCK } from '../../harness/target/clock.ts';
import type { BenchResults } from '../../reports/bench-results.ts';
import { compareBenches, type OperationComparison } from '../../reports/bench/compare.ts';
import { readBench } from '../../reports/bench/directory.ts';
import { resultsFolder, start } from './vfio-conformance.ts';

const KERNEL = 'trixie-backports';
/** What is compared: the shortest call, calls of some length, and the way of an interrupt. */
const COMPARED = [
  'container.ioctl.get-api-version',
  'container.dma.4k.4KiB.warm',
  'irq.loopback.msi.read',
];
/** What has a counterpart in native/reference.c. */
const WITH_REFERENCE = [
  'container.ioctl.get-info',
  'container.dma.4k.4KiB.warm.map',
  'container.dma.thp.2MiB.warm.map',
  'container.dma.memfd.64MiB.warm.map',
  'irq.loopback.msi.read',
];
const THRESHOLD = 5;
/** Rounds of a trial. */
const ROUNDS = 10;
/** Trials that share three guests. */
const TRIALS = 5;
/** Trials with guests booted for each of them; `npm run test:trials` asks for 20. */
const BOOTED_TRIALS = Number(process.env['VFIO_CONFORMANCE_TRIALS'] ?? 0);

/** The default kernel measured twice, and a third time with 10 % added, round by round in turn. */
interface Measured {
  first: BenchResults;
  second: BenchResults;
  delayed: BenchResults;
}

async function measure(rounds: number): Promise<Measured> {
  const folder = resultsFolder();
  const { code, output } = await start([
    'bench',
    ...COMPARED,
    ...[KERNEL, KERNEL, KERNEL].flatMap((kernel) => ['--kernel', kernel]),
    ...['--plant-delay', '10'],
    ...['--quick', '--rounds', String(rounds), '--round-ms', '5', '--samples', '50'],
    ...['--results', folder, '--quiet'],
  ]).finished;
  expect([0, 1], output).toContain(code);
  const side = (number: number) => readBench(join(folder, `${number}-${KERNEL}`));
  return { first: side(1), second: side(2), delayed: side(3) };
}

/** Whether what else the host did has no part in the figures. */
function counts({ run }: BenchResults): boolean {
  return run.environment['clock'] === COUNTED_CLOCK;
}

/** Some rounds of a run, as if there had been no others; without `harness.*`, which has fewer. */
function trialOf(results: BenchResults, number: number): BenchResults {
  const compared = results.benchmarks.filter(({ suite }) => suite !== 'harness');
  return {
    ...results,
    benchmarks: compared.map((bench) => ({
      ...bench,
      rounds: bench.rounds.slice(number * ROUNDS, (number + 1) * ROUNDS),
    })),
  };
}

function compare(a: BenchResults, b: BenchResults): OperationComparison[] {
  const { operations } = compareBenches(a, b, THRESHOLD);
  // One of the benchmarks has two operations.
  expect(operations).toHaveLength(COMPARED.length + 1);
  return operations;
}

function expectNoDifference(operations: readonly OperationComparison[]): void {
  expect(operations.filter(({ verdict }) => ['slower', 'faster'].includes(verdict))).toEqual([]);
}

/** On a busy host, a clock that does not count instructions leaves some trials too noisy to tell. */
function expectDelay(operations: readonly OperationComparison[], counting: boolean): void {
  const accepted = counting ? ['slower'] : ['slower', 'noisy'];
  expect(operations.filter(({ verdict }) => !accepted.includes(verdict))).toEqual([]);
}

describe('a kernel measured against itself, round by round', () => {
  let measured: Measured;

  beforeAll(async () => {
    measured = await measure(TRIALS * ROUNDS);
  });

  it.each(Array.from({ length: TRIALS }, (_, number) => number))(
    'shows no difference but the one that was planted, in trial %i',
    (number) => {
      const { first, second, delayed } = measured;
      const trial = trialOf(first, number);
      expectNoDifference(compare(trial, trialOf(second, number)));
      expectDelay(compare(trial, trialOf(delayed, number)), counts(first));
    },
  );

  it('has figures for all that it measured, and knows the machine', () => {
    for (const { run, benchmarks } of Object.values(measured)) {
      expect(run.outcome).toBe('finished');
      expect(run.environment).toHaveProperty('SHA-256 of the kernel image');
      for (const bench of benchmarks) {
        expect(bench.status, bench.id).toBe('pass');
        expect(bench.summary?.min, bench.id).toBeGreaterThan(0);
      }
    }
  });
});

it.each(Array.from({ length: BOOTED_TRIALS }, (_, number) => number))(
  'guests booted for it alone show no difference but the one that was planted, in trial %i',
  async () => {
    const { first, second, delayed } = await measure(ROUNDS);
    expectNoDifference(compare(first, second));
    expectDelay(compare(first, delayed), counts(first));
  },
);

it('agrees with a C program that does the same', async () => {
  const folder = resultsFolder();
  const { output } = await start([
    'bench',
    ...WITH_REFERENCE.map((id) => id.replace(/\.map$/, '')),
    ...['--quick', '--samples', '50', '--results', folder, '--quiet'],
  ]).finished;
  const results = readBench(folder);
  for (const id of WITH_REFERENCE) {
    const fidelity = results.benchmarks.find((one) => one.id === id)?.fidelity;
    expect(Math.abs((fidelity?.ratio ?? 0) - 1), `${id}\n${output}`).toBeLessThanOrEqual(
      counts(results) ? 0.03 : 0.25,
    );
  }
});
