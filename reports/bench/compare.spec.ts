import { describe, expect, it } from 'vitest';
import sample from './samples/bench.json' with { type: 'json' };
import type { BenchResult, BenchResults } from '../bench-results.ts';
import { compareBenches, regressed, renderBenchComparison } from './compare.ts';

const REAL = sample as unknown as BenchResults;
const ID = 'container.ioctl.get-info';

/** A run with one operation, of rounds with these medians. */
function run(medians: readonly number[], side?: number): BenchResults {
  const [real] = REAL.benchmarks as [BenchResult];
  const [round] = real.rounds;
  const rounds = medians.map((p50) => ({ ...round!, p50 }));
  return {
    ...REAL,
    run: {
      ...REAL.run,
      interleaved: side === undefined ? null : { id: 'x', side, sides: 2 },
    },
    benchmarks: [{ ...real, id: ID, rounds }],
  };
}

const verdict = (a: BenchResults, b: BenchResults, threshold = 5) =>
  compareBenches(a, b, threshold).operations[0]?.verdict;

/** Rounds that drift by a fifth, as a host does that gets busy meanwhile. */
const DRIFTING = [100, 101, 104, 108, 113, 120, 121, 119, 112, 105];

describe('interleaved runs', () => {
  it('differ by what one adds to each round, however much the rounds drift', () => {
    const slower = DRIFTING.map((p50) => p50 * 1.1);
    const comparison = compareBenches(run(DRIFTING, 0), run(slower, 1), 5);
    expect(comparison.interleaved).toBe(true);
    expect(comparison.operations[0]).toMatchObject({ verdict: 'slower' });
    expect(comparison.operations[0]?.ratio).toBeCloseTo(1.1);
    expect(regressed(comparison)).toBe(true);
    expect(verdict(run(slower, 0), run(DRIFTING, 1))).toBe('faster');
  });

  it('may differ without VFIO too: that is the kernel, and explains nothing away', () => {
    const sides = [
      run(DRIFTING, 0),
      run(
        DRIFTING.map((p50) => p50 * 1.1),
        1,
      ),
    ] as const;
    for (const { benchmarks } of sides)
      benchmarks.push({ ...benchmarks[0]!, id: 'harness.syscall' });
    const { operations, machine, warnings } = compareBenches(...sides, 5);
    expect(operations.map((one) => one.verdict)).toEqual(['slower']);
    expect(machine.map(({ id }) => id)).toEqual(['harness.syscall']);
    expect(warnings).toEqual([]);
  });

  it('do not differ by less than the threshold', () => {
    const bit = DRIFTING.map((p50) => p50 * 1.03);
    expect(verdict(run(DRIFTING, 0), run(bit, 1))).toBe('same');
    expect(verdict(run(DRIFTING, 0), run(bit, 1), 2)).toBe('slower');
  });

  it('are too noisy if the rounds contradict each other', () => {
    const wild = DRIFTING.map((p50, round) => p50 * (round % 2 === 0 ? 1.3 : 0.8));
    expect(verdict(run(DRIFTING, 0), run(wild, 1))).toBe('noisy');
  });
});

describe('runs at different times', () => {
  it('are compared as they are, and drift makes them too noisy', () => {
    const steady = [100, 101, 100, 99, 100];
    expect(verdict(run(steady), run(steady.map((p50) => p50 * 1.2)))).toBe('slower');
    expect(verdict(run(DRIFTING), run(DRIFTING.map((p50) => p50 * 1.04)))).toBe('noisy');
  });

  it('prove nothing if the machine itself has changed', () => {
    const other = run([120, 121, 120]);
    const before = run([100, 101, 100]);
    for (const one of [before, other])
      one.benchmarks.push({ ...one.benchmarks[0]!, id: 'harness.syscall' });
    const { operations, warnings } = compareBenches(before, other, 5);
    expect(operations.map(({ verdict }) => verdict)).toEqual(['noisy']);
    expect(warnings[0]?.text).toContain('harness.syscall');
  });

  it('name what only one of them has', () => {
    const { onlyA, onlyB } = compareBenches(REAL, run([100, 100]), 5);
    expect(onlyB).toEqual([ID]);
    expect(onlyA).toHaveLength(REAL.benchmarks.length);
  });
});

it('tells people the verdict, both medians, the ratio and its interval', () => {
  const text = renderBenchComparison(
    compareBenches(
      run(DRIFTING, 0),
      run(
        DRIFTING.map((p50) => p50 * 1.5),
        1,
      ),
      5,
    ),
  );
  expect(text).toMatch(/slower \(1\):/);
  expect(text).toMatch(/get-info +\d+ ns +\d+ ns +1\.500 +1\.500–1\.500/);
});
