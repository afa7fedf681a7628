import { cpSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../harness/target/errors.ts';
import { laneSuffix } from '../harness/target/lanes.ts';
import {
  Journal,
  JOURNAL_FILE,
  plannedTests,
  readJournal,
  type JournalLine,
  type RunBegin,
} from './journal.ts';
import { reduceJournal } from './reduce.ts';
import type { Expectation, Outcome, RunResults } from './results.ts';
import { writeReports } from './results-directory.ts';

/** A results directory to be merged. */
export interface Piece {
  directory: string;
  begin: RunBegin & { at: string };
  lines: readonly JournalLine[];
  results: RunResults;
}

/** @throws UsageError if the directory holds no run */
function readPiece(directory: string): Piece {
  const path = join(directory, JOURNAL_FILE);
  const lines = existsSync(path) ? readJournal(path) : [];
  const begin = lines.find((line) => line.type === 'run-begin');
  if (!begin) {
    throw new UsageError(
      `${directory} is not a results directory of a run`,
      'name directories that `vfio-conformance run` has written',
    );
  }
  return { directory, begin, lines, results: reduceJournal(lines) };
}

/**
 * Merges results directories into an empty one: parts of one run become one, in the directory
 * itself; of several runs each keeps a directory of its own below it.
 * @returns the directories of the runs
 */
export async function mergeRuns(directories: readonly string[], out: string): Promise<string[]> {
  const groups = groupPieces(directories.map(readPiece));
  const names = runNames(groups.flatMap(([piece]) => (piece ? [piece.results.run] : [])));
  const places = groups.length === 1 ? [out] : names.map((name) => join(out, name));
  for (const [index, pieces] of groups.entries()) {
    const place = places[index] ?? out;
    mkdirSync(place, { recursive: true });
    writeMerged(pieces, place);
    await writeReports(place);
  }
  return places;
}

/**
 * Which pieces are parts of one run: of the same kernel on the same machine, and with nothing planned in
 * both. A second result of the same test is another run.
 */
function groupPieces(pieces: readonly Piece[]): Piece[][] {
  const groups: { same: string; work: Set<string>; pieces: Piece[] }[] = [];
  for (const piece of pieces) {
    const same = identity(piece);
    const work = workOf(piece.begin);
    const group = groups.find(
      (one) =>
        one.same === same && !work.some((part) => one.work.has(part)) && fits(one.pieces, piece),
    );
    if (group) {
      group.pieces.push(piece);
      for (const part of work) group.work.add(part);
    } else {
      groups.push({ same, work: new Set(work), pieces: [piece] });
    }
  }
  return groups.map((group) => group.pieces);
}

/** What a piece was to do: its tests, or the programs that its fuzzers begin with. */
function workOf(begin: RunBegin): string[] {
  return (
    begin.fuzz?.map(({ id, seed, from, program }) => `${id} ${program ?? `${seed}:${from}`}`) ??
    plannedTests(begin).map(({ id }) => id)
  );
}

/** What makes results comparable as one run's; the computer that ran them is not part of it. */
function identity({ begin, results: { run } }: Piece): string {
  const { environment: facts } = run;
  const named = ['kernelVersion', 'kernel command line', 'modules laid over', 'devices', 'iommu'];
  return JSON.stringify([
    begin.fuzz === undefined ? 'run' : 'fuzz',
    run.version,
    run.kernel,
    run.machine,
    ...named.map((name) => facts[name]),
  ]);
}

/** Shards belong to shards of the same plan only. */
function fits(pieces: readonly Piece[], { begin }: Piece): boolean {
  const plan = ({ shard, tests }: RunBegin) =>
    shard ? [shard.count, ...tests.map(({ id }) => id).sort()].join() : '';
  return pieces.every((piece) => plan(piece.begin) === plan(begin));
}

/** `6.1.0-amd64-default`: what runs are called among others; the second of a name gets a number. */
export function runNames(runs: readonly { kernel: string; machine: string }[]): string[] {
  const taken = new Map<string, number>();
  return runs.map(({ kernel, machine }) => {
    const name = `${kernel}-${machine}`.replace(/[^\w.+-]/g, '_');
    const n = (taken.get(name) ?? 0) + 1;
    taken.set(name, n);
    return n === 1 ? name : `${name}.${n}`;
  });
}

/** Writes the journal of the run that the pieces make up, with the files of their guests. */
function writeMerged(pieces: readonly Piece[], directory: string): void {
  const journal = new Journal(join(directory, JOURNAL_FILE));
  const append = ({ at, lane, ...event }: JournalLine): void =>
    void journal.append(event, new Date(at), lane);
  const begin = mergedBegin(pieces);
  append(begin);
  let lanes = 0;
  for (const piece of pieces) {
    let most = 0;
    for (const line of piece.lines) {
      const { type, lane = 0 } = line;
      if (type === 'run-begin' || type === 'run-resume' || type === 'run-end') continue;
      most = Math.max(most, lane);
      append({ ...line, lane: lanes + lane });
    }
    for (let lane = 0; lane <= most; lane++)
      copyLane(piece.directory, lane, directory, lanes + lane);
    lanes += most + 1;
  }
  append(mergedEnd(pieces, begin));
  journal.close();
}

/** What the guest of a lane left, under the name of its lane in the merged run. */
function copyLane(from: string, lane: number, to: string, newLane: number): void {
  for (const [stem, end] of [
    ['console', '.log'],
    ['guest', ''],
  ] as const) {
    const source = join(from, stem + laneSuffix(lane) + end);
    if (!existsSync(source)) continue;
    cpSync(source, join(to, stem + laneSuffix(newLane) + end), { recursive: true });
  }
}

function mergedBegin(pieces: readonly Piece[]): JournalLine & RunBegin {
  const begins = pieces.map(({ begin }) => begin);
  const [first] = begins;
  if (!first) throw new Error('nothing to merge');
  const { shard: _, ...common } = first;
  const tests = new Map(begins.flatMap((begin) => begin.tests.map((test) => [test.id, test])));
  return {
    ...common,
    at: begins.map(({ at }) => at).sort()[0] ?? first.at,
    tests: [...tests.values()],
    ...(first.fuzz && { fuzz: begins.flatMap(({ fuzz = [] }) => fuzz) }),
    expectationFiles: [...new Set(begins.flatMap(({ expectationFiles }) => expectationFiles))],
    expectations: Object.assign({}, ...begins.map(({ expectations }) => expectations)) as Record<
      string,
      Expectation
    >,
    seed: begins.every(({ seed }) => seed === first.seed) ? first.seed : null,
  };
}

/** The gravest first. */
const OUTCOMES: Outcome[] = [
  'unfinished',
  'aborted',
  'broken',
  'interrupted',
  'bailed',
  'finished',
];

/** As grave as the gravest end of a piece; unfinished if a shard is not there. */
function mergedEnd(pieces: readonly Piece[], { tests }: RunBegin): JournalLine {
  const planned = new Set(pieces.flatMap(({ begin }) => plannedTests(begin).map(({ id }) => id)));
  const missing = tests.filter(({ id }) => !planned.has(id)).length;
  const reasons = pieces.flatMap(({ directory, results: { run } }) =>
    run.outcome === 'finished' ? [] : [`${directory} ${run.outcome}: ${run.reason}`],
  );
  if (missing > 0) {
    const present = pieces.map(({ results }) => results.run.shard).join(', ');
    reasons.push(`of the shards only ${present} are here`);
  }
  const outcomes = pieces.map(({ results }) => results.run.outcome);
  const gravest = OUTCOMES.find((outcome) => outcomes.includes(outcome)) ?? 'finished';
  return {
    at:
      pieces
        .map(({ lines, begin }) => lines.at(-1)?.at ?? begin.at)
        .sort()
        .at(-1) ?? '',
    type: 'run-end',
    outcome: missing > 0 ? 'unfinished' : gravest,
    reason: reasons.join('; '),
  };
}
