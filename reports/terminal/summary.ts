import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { earlyEnd, reasonOf } from '../explain.ts';
import { HTML_FILE, RESULT_FILES } from '../results-directory.ts';
import { isBad, type RunResults } from '../results.ts';
import { count, duration, oneLine } from '../text.ts';
import { statusWord, type Colors } from './style.ts';

const ORDER = ['pass', 'fail', 'crash', 'timeout', 'error', 'xpass', 'xfail', 'skip'] as const;
/** So many ids still make a command that one can copy. */
const MAX_RERUN = 20;

/** The last words of a run: what came of it, what was not as expected, where the reports are. */
export function renderSummary(results: RunResults, directory: string, colors: Colors): string {
  const { run, tests } = results;
  const lines: string[] = [''];
  const bad = tests.filter((test) => isBad(test.status));
  for (const test of bad) {
    lines.push(
      `${statusWord(test.status, colors)} ${test.id}  ${colors.dim(oneLine(reasonOf(test)))}`,
    );
  }
  const skips = new Map<string, number>();
  for (const test of tests) {
    if (test.status !== 'skip') continue;
    const reason = oneLine(reasonOf(test));
    skips.set(reason, (skips.get(reason) ?? 0) + 1);
  }
  for (const [reason, n] of skips) {
    lines.push(`${statusWord('skip', colors)} ${count(n, 'test')}: ${colors.dim(reason)}`);
  }
  if (lines.length > 1) lines.push('');

  const end = earlyEnd(results);
  if (end) lines.push(colors.red(colors.bold(end)));
  lines.push(renderVerdict(results, colors));

  if (run.seed !== null) lines.push(`Order: --shuffle ${run.seed}`);
  const there = (file: string) => existsSync(join(directory, file));
  const files = Object.keys(RESULT_FILES).filter((file) => file !== HTML_FILE && there(file));
  lines.push(`Reports: ${directory}/ (${files.join(', ')})`);
  const [first] = tests;
  // A fuzzer's finding has the program to replay behind its id.
  const rerun = first?.rerun.split(` ${first.id}`, 1)[0];
  if (bad.length > 0 && bad.length <= MAX_RERUN) {
    lines.push(`Run these again: ${rerun} ${bad.map((test) => test.id).join(' ')}`);
  }
  if (run.notRun.length > 0) {
    const command = run.command[1] === 'fuzz' ? 'fuzz' : 'run';
    lines.push(`Go on with the rest: npx vfio-conformance ${command} --resume ${directory}`);
  }
  if (there(HTML_FILE)) lines.push(`HTML report: ${join(directory, HTML_FILE)}`);
  return lines.join('\n') + '\n';
}

/** One line: how many tests ended how, on what. */
export function renderVerdict({ run, tests, summary }: RunResults, colors: Colors): string {
  const counts = ORDER.filter((status) => summary[status] > 0)
    .map((status) => `${summary[status]} ${status}`)
    .join(', ');
  const shard = run.shard === null ? '' : `, shard ${run.shard}`;
  const verdict = `${count(tests.length, 'test')} on Linux ${run.kernel} (${run.machine})${shard}: ${counts || 'no result'}`;
  const colour =
    run.exitCode === 0 ? colors.green : run.exitCode === 4 ? colors.yellow : colors.red;
  return `${colour(colors.bold(verdict))}, ${duration(run.durationMs)}`;
}
