import { median } from 'simple-statistics';
import type { Fidelity } from '../bench-results.ts';
import type { SampledRound } from './latency.ts';
import { medianInterval } from './statistics.ts';

/** How far a benchmark's median may be from that of the C program, unless it says otherwise. */
const TOLERANCE = 0.03;

/** Round by round, because the C program ran between the rounds. Null without it. */
export function compareWithReference(
  rounds: readonly SampledRound[],
  references: readonly number[][],
  confidence: number,
  tolerance = TOLERANCE,
): Fidelity | null {
  if (references.length === 0) return null;
  const ratios = references.flatMap((reference, index) => {
    const round = rounds[index];
    return round ? [round.p50 / median(reference)] : [];
  });
  if (ratios.length === 0) return null;
  const ratio = median(ratios);
  return {
    samples: references.reduce((sum, reference) => sum + reference.length, 0),
    p50: median(references.flat()),
    ratio,
    interval: medianInterval(ratios, confidence),
    tolerance,
    agrees: Math.abs(ratio - 1) <= tolerance,
  };
}
