import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { failureTitle } from '../../reports/failure-title.ts';
import type { RunResults, TestResult } from '../../reports/results.ts';
import { oneLine } from '../../reports/text.ts';
import { kernelSeries } from './expectations.ts';

/** What stands where a person has to say why. */
export const FILL_IN = 'FILL IN THE REASON:';

/** A change of an expectation file. */
export interface ExpectationEdit {
  file: string;
  /** `add`: at the end. `remove`: a line that names just this test, which passes by now. */
  action: 'add' | 'remove';
  line: string;
}

/** The machine whose expectations have no name of their own in the file. */
const DEFAULT_MACHINE = 'default';

/**
 * What the files need, so that the same runs would end as expected: a line for what failed each time
 * it was run in `fails`, for what failed now and then in `flakes`, and lines away that no longer hold.
 * Errors tell nothing about the kernel and get none. Runs of one kernel and machine belong together.
 */
export function expectationEdits(
  runs: readonly RunResults[],
  directory: string,
): ExpectationEdit[] {
  const places = new Map<string, RunResults[]>();
  for (const results of runs) {
    const series = kernelSeries(results.run.kernel) ?? 'all';
    const { machine } = results.run;
    const stem = machine === DEFAULT_MACHINE ? series : `${series}-${machine}`;
    places.set(stem, [...(places.get(stem) ?? []), results]);
  }
  const edits = [...places].flatMap(([stem, group]) => editsOf(stem, group, directory));
  // Runs on several kernels may ask for the same line of a file that serves all of them to go.
  return edits.filter(
    (edit, index) =>
      edits.findIndex((other) => JSON.stringify(other) === JSON.stringify(edit)) === index,
  );
}

function editsOf(stem: string, runs: readonly RunResults[], directory: string): ExpectationEdit[] {
  const byId = new Map<string, TestResult[]>();
  for (const test of runs.flatMap(({ tests }) => tests))
    byId.set(test.id, [...(byId.get(test.id) ?? []), test]);
  return [...byId].flatMap(([id, results]): ExpectationEdit[] => {
    const ended = results.filter(({ status }) => status !== 'skip' && status !== 'error');
    const bad = ended.filter(({ status }) => ['fail', 'crash', 'timeout'].includes(status));
    const [worst] = bad.sort((a, b) => GRAVITY.indexOf(b.status) - GRAVITY.indexOf(a.status));
    if (worst) {
      const passed = ended.some(({ status }) => status === 'pass' || status === 'xpass');
      const outcome = worst.status === 'fail' ? '' : `  ${worst.status}`;
      const rate = passed ? ` (${bad.length} of ${ended.length} runs)` : '';
      const why = oneLine(failureTitle(worst) ?? '');
      return [
        {
          file: `${stem}-${passed ? 'flakes' : 'fails'}.txt`,
          action: 'add',
          line: `${id}${outcome}  # ${FILL_IN} ${why}${rate}`,
        },
      ];
    }
    const unexpected = ended.length > 0 && ended.every(({ status }) => status === 'xpass');
    return unexpected ? removals(ended[0]!, directory) : [];
  });
}

const GRAVITY: readonly string[] = ['fail', 'timeout', 'crash'];

/** The line behind an unexpected pass, if it names this test alone: a glob may hold for others. */
function removals(test: TestResult, directory: string): ExpectationEdit[] {
  const [file = '', number = ''] = test.expectation?.from.split(':') ?? [];
  const path = join(directory, file);
  if (file === '' || !existsSync(path)) return [];
  const line = readFileSync(path, 'utf8').split('\n')[Number(number) - 1] ?? '';
  return line.trim().split(/\s/, 1)[0] === test.id ? [{ file, action: 'remove', line }] : [];
}

/** Writes the changes. */
export function applyEdits(edits: readonly ExpectationEdit[], directory: string): void {
  for (const { file, action, line } of edits) {
    const path = join(directory, file);
    if (action === 'add') {
      const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
      appendFileSync(path, `${text === '' || text.endsWith('\n') ? '' : '\n'}${line}\n`);
    } else {
      const lines = readFileSync(path, 'utf8').split('\n');
      const index = lines.indexOf(line);
      if (index >= 0) writeFileSync(path, lines.toSpliced(index, 1).join('\n'));
    }
  }
}
