import {
  operationId,
  operationsOf,
  type BenchMeta,
  type BenchRoundEvent,
} from '../../harness/protocol/bench.ts';
import type { Environment } from '../../harness/protocol/events.ts';
import type { Status } from '../../harness/protocol/test.ts';
import {
  BENCH_SCHEMA,
  type BenchMethod,
  type BenchResult,
  type BenchResults,
} from '../bench-results.ts';
import type { JournalLine, SupervisorEvent } from '../journal.ts';
import { compareWithReference } from './fidelity.ts';
import { encodeHistogram, outliers, quantiles, summarize, type SampledRound } from './latency.ts';
import { runWarnings, warningsAbout } from './warnings.ts';

type BenchBegin = Extract<SupervisorEvent, { type: 'bench-begin' }>;

/** How a benchmark ended. */
interface Ending {
  status: Status;
  detail: string;
}

/** Journal → results of benchmarks. @throws Error if the journal holds no run of benchmarks */
export function reduceBenchJournal(lines: readonly JournalLine[]): BenchResults {
  const begin = lines.find((line) => line.type === 'bench-begin');
  if (!begin) throw new Error('the journal holds no run of benchmarks');
  const end = lines.findLast((line) => line.type === 'run-end');
  let environment: Environment = { ...begin.target };
  const loads: number[] = [];
  const rounds = new Map<string, SampledRound[]>();
  const references = new Map<string, number[][]>();
  const endings = new Map<string, Ending>();
  for (const line of lines) {
    if (line.type === 'hello') environment = { ...environment, ...line.environment };
    else if (line.type === 'host-load') loads.push(line.load / line.cpus);
    else if (line.type === 'test-begin') forget(begin, line.id, rounds, references);
    else if (line.type === 'bench-round') keep(line, rounds, references);
    else if (line.type === 'test-end' || line.type === 'verdict')
      endings.set(line.id, ending(line));
  }
  const benchmarks = begin.benchmarks.flatMap((bench) => {
    const ended = endings.get(bench.id);
    if (!ended) return [];
    return operationsOf(bench).map((operation) => {
      const id = operationId(bench.id, operation);
      const sampled = rounds.get(id) ?? [];
      return resultOf(bench, operation, ended, begin.method, sampled, references.get(id) ?? []);
    });
  });
  warningsAbout(benchmarks);
  return {
    schema: BENCH_SCHEMA,
    run: {
      started: begin.at,
      finished: end?.at ?? null,
      durationMs: Date.parse(end?.at ?? lines.at(-1)!.at) - Date.parse(begin.at),
      outcome: end?.outcome ?? 'unfinished',
      reason: end ? end.reason : 'the supervisor ended without writing an end',
      kernel: String(environment['kernel'] ?? begin.kernel),
      machine: begin.machine,
      command: begin.command,
      version: begin.version,
      environment: { ...environment, ...loadFacts(loads) },
      method: begin.method,
      interleaved: begin.interleaved,
      warnings: runWarnings(environment, loads, begin.method),
    },
    benchmarks,
  };
}

/** A benchmark that is begun again after a death begins from nothing. */
function forget(begin: BenchBegin, id: string, ...kept: Map<string, unknown>[]): void {
  const bench = begin.benchmarks.find((one) => one.id === id);
  for (const operation of bench ? operationsOf(bench) : [])
    for (const map of kept) map.delete(operationId(id, operation));
}

function keep(
  line: BenchRoundEvent & { at: string },
  rounds: Map<string, SampledRound[]>,
  references: Map<string, number[][]>,
): void {
  if (line.reference) {
    references.set(line.id, [...(references.get(line.id) ?? []), line.samples]);
    return;
  }
  const round = {
    at: line.at,
    samples: line.samples.length,
    ...quantiles(line.samples),
    stealMs: line.stealMs,
    preemptions: line.preemptions,
    ns: line.samples,
  };
  rounds.set(line.id, [...(rounds.get(line.id) ?? []), round]);
}

function ending(line: Extract<JournalLine, { type: 'test-end' | 'verdict' }>): Ending {
  const skip = line.type === 'test-end' ? line.skip : [];
  return { status: line.status, detail: line.failure?.message ?? skip.join('; ') };
}

function resultOf(
  bench: BenchMeta,
  operation: string,
  { status, detail }: Ending,
  { confidence }: BenchMethod,
  sampled: readonly SampledRound[],
  references: readonly number[][],
): BenchResult {
  const id = operationId(bench.id, operation);
  const summary = sampled.length > 0 ? summarize(sampled, confidence) : null;
  const far = summary ? outliers(sampled, summary) : { named: [], count: 0 };
  return {
    id,
    suite: bench.suite,
    title: bench.title,
    file: bench.file,
    operation: operation === '' ? (bench.id.split('.').at(-1) ?? '') : operation,
    parameters: bench.parameters,
    status,
    detail,
    units: bench.units,
    samples: sampled.reduce((sum, { samples }) => sum + samples, 0),
    summary,
    rounds: sampled.map(({ ns: _, ...round }) => round),
    outliers: far.named,
    outlierCount: far.count,
    histogram: summary ? encodeHistogram(sampled) : '',
    fidelity: compareWithReference(sampled, references, confidence, bench.tolerance),
    warnings: [],
  };
}

function loadFacts(loads: readonly number[]): Environment {
  if (loads.length === 0) return {};
  const text = (load: number) => load.toFixed(2);
  return {
    'host load per processor, lowest and highest': `${text(Math.min(...loads))} ${text(Math.max(...loads))}`,
  };
}
