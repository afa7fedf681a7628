import type { Environment } from '../../harness/protocol/events.ts';
import { COUNTED_CLOCK } from '../../harness/target/clock.ts';
import type { BenchMethod, BenchResult, BenchWarning } from '../bench-results.ts';

/** What every sample holds besides its operation. */
const OVERHEAD = 'harness.overhead';
const NOISY_ROUNDS = 1.15;
const FEW_SAMPLES = 30;
const OVERHEAD_SHARE = 0.1;
const STEAL_SHARE = 0.01;
const PREEMPTED_SHARE = 0.02;
/** One in a while means nothing. */
const FEW_PREEMPTIONS = 5;
const BUSY = 0.9;

const percent = (share: number) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

/** Adds to each benchmark what is odd about its figures. */
export function warningsAbout(benchmarks: readonly BenchResult[]): void {
  const overhead = benchmarks.find(({ id }) => id === OVERHEAD)?.summary?.p50;
  for (const bench of benchmarks) {
    if (!bench.summary) continue;
    bench.warnings.push(
      ...noise(bench),
      ...(bench.suite === 'harness' ? [] : floor(bench, overhead)),
      ...saturation(bench, benchmarks),
      ...infidelity(bench),
    );
  }
}

function noise({ rounds, samples }: BenchResult): BenchWarning[] {
  const warnings: BenchWarning[] = [];
  const medians = rounds.map(({ p50 }) => p50);
  const spread = Math.max(...medians) / Math.min(...medians);
  if (spread > NOISY_ROUNDS) {
    warnings.push({
      text: `noise: the medians of the rounds differ by ${percent(spread - 1)}`,
      next: 'leave the machine alone, or take more rounds: --rounds 30',
    });
  }
  if (samples < FEW_SAMPLES) {
    warnings.push({
      text: `${samples} samples only: the higher percentiles are the highest samples`,
      next: 'give each round more time: --round-ms 1000',
    });
  }
  const stolen = rounds.reduce((sum, { stealMs }) => sum + stealMs, 0);
  const measured = rounds.reduce((sum, round) => sum + round.samples * round.p50, 0) / 1e6;
  if (stolen > STEAL_SHARE * Math.max(measured, 1000)) {
    warnings.push({
      text: `the hypervisor took ${Math.round(stolen)} ms away while this was measured`,
      next: 'measure on a host with a processor to spare',
    });
  }
  const preemptions = rounds.reduce((sum, round) => sum + round.preemptions, 0);
  if (preemptions > Math.max(FEW_PREEMPTIONS, PREEMPTED_SHARE * samples)) {
    warnings.push({
      text: `another thread took the processor ${preemptions} times in ${samples} samples`,
      next: 'keep a processor free of other work (isolcpus=)',
    });
  }
  return warnings;
}

function floor({ summary }: BenchResult, overhead: number | undefined): BenchWarning[] {
  if (!summary || overhead === undefined || overhead < OVERHEAD_SHARE * summary.p50) return [];
  return [
    {
      text: `${percent(overhead / summary.p50)} of the median is the measuring itself`,
      next: `compare with other runs only, or look at what is left above ${OVERHEAD}`,
    },
  ];
}

/** Threads that wait for each other make each one slower and the whole no faster. */
function saturation(bench: BenchResult, all: readonly BenchResult[]): BenchWarning[] {
  const threads = Number(bench.parameters['threads'] ?? 1);
  if (threads === 1 || !bench.summary) return [];
  const alone = all.find(
    ({ operation, parameters }) =>
      operation === bench.operation &&
      Object.entries({ ...bench.parameters, threads: 1 }).every(
        ([name, value]) => parameters[name] === value,
      ),
  );
  if (!alone?.summary || bench.summary.p50 < threads * alone.summary.p50) return [];
  return [
    {
      text: `saturated: with ${threads} threads each operation takes ${(bench.summary.p50 / alone.summary.p50).toFixed(1)} times as long as with one`,
      next: 'use fewer threads, or look for the lock that they share (perf lock, lockstat)',
    },
  ];
}

function infidelity({ fidelity }: BenchResult): BenchWarning[] {
  if (!fidelity || fidelity.agrees) return [];
  return [
    {
      text: `the C program's median differs by more than ${percent(fidelity.tolerance)}: ratio ${fidelity.ratio.toFixed(3)}`,
      next: 'measure again on a quiet machine; if it stays, the harness disturbs what it measures',
    },
  ];
}

/** What is odd about a run as a whole. */
export function runWarnings(
  environment: Environment,
  loads: readonly number[],
  { plantedDelay }: BenchMethod,
): BenchWarning[] {
  const warnings: BenchWarning[] = [];
  const busiest = Math.max(0, ...loads);
  if (environment['clock'] === COUNTED_CLOCK) {
    warnings.push({
      text: 'the processor is emulated and its clock counts instructions: figures say how many were executed, not how long hardware takes',
      next: 'compare kernels like this, undisturbed by what else the host does; for absolute figures use KVM or hardware',
    });
  } else if (busiest > BUSY) {
    warnings.push({
      text: `the host was busy: a load of ${busiest.toFixed(1)} a processor`,
      next: 'stop what else runs there; trust ratios of interleaved runs only',
    });
  }
  const governors = String(environment['governor'] ?? '');
  if (governors !== '' && governors !== 'performance' && governors !== 'none') {
    warnings.push({
      text: `the frequency governor is '${governors}'`,
      next: 'cpupower frequency-set -g performance',
    });
  }
  if (plantedDelay > 0) {
    warnings.push({
      text: `${plantedDelay} % were added to every sample on purpose (--plant-delay)`,
      next: 'use these figures to judge the comparison, not the kernel',
    });
  }
  return warnings;
}
