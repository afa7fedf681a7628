import { earlyEnd, explain, reasonOf } from './explain.ts';
import { isBad, type RunResults, type TestResult } from './results.ts';
import { count, duration, oneLine, printable } from './text.ts';

/** GitHub shows no more errors of one step; what comes after them would be lost unseen. */
const MOST_ANNOTATIONS = 10;
/** Failures that a summary explains in full: GitHub refuses more than 1 MiB of it. */
const MOST_EXPLAINED = 20;
const MOST_LINES = 100;

/**
 * Workflow commands that attach each failure to the line of the suite file that found it
 * (docs.github.com, "Workflow commands for GitHub Actions").
 */
export function githubAnnotations(runs: readonly RunResults[]): string[] {
  const errors = runs.flatMap((results) => {
    const { run, tests } = results;
    const where = `Linux ${run.kernel} (${run.machine})`;
    const end = earlyEnd(results);
    return [
      ...(end === undefined ? [] : [command('error', { title: where }, oneLine(end))]),
      ...tests
        .filter(({ status }) => isBad(status))
        .map((test) =>
          command(
            'error',
            { file: test.file, line: lineOf(test), title: `${test.id} on ${where}` },
            `${test.title}\n${reasonOf(test)}`,
          ),
        ),
    ];
  });
  if (errors.length <= MOST_ANNOTATIONS) return errors;
  const more = errors.length - MOST_ANNOTATIONS + 1;
  return [
    ...errors.slice(0, MOST_ANNOTATIONS - 1),
    command(
      'error',
      { title: 'vfio-conformance' },
      `${count(more, 'more failure')}: see the summary`,
    ),
  ];
}

function command(name: string, properties: Record<string, string>, message: string): string {
  const given = Object.entries(properties).filter(([, value]) => value !== '');
  const list = given.map(([key, value]) => `${key}=${escaped(value, /[%\r\n:,]/g)}`).join(',');
  return `::${name} ${list}::${escaped(printable(message), /[%\r\n]/g)}`;
}

/** As the runner's own toolkit does it. */
function escaped(text: string, special: RegExp): string {
  return text.replace(
    special,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}

/** Where in its own file a test found the failure; empty if that is not known. */
function lineOf({ file, failure }: TestResult): string {
  const stack = failure?.stack ?? '';
  const at = stack.indexOf(`${file}:`);
  return at < 0 ? '' : (/^\d+/.exec(stack.slice(at + file.length + 1))?.[0] ?? '');
}

const COLUMNS = ['pass', 'fail', 'crash', 'timeout', 'error', 'xpass', 'xfail', 'skip'] as const;

/** The runs as Markdown, for the summary page of a job. */
export function githubSummary(runs: readonly RunResults[]): string {
  const lines = [
    '## vfio-conformance',
    '',
    `| kernel | machine | ${COLUMNS.join(' | ')} | time |`,
    `| --- | --- |${' ---: |'.repeat(COLUMNS.length + 1)}`,
  ];
  for (const { run, summary } of runs) {
    const counts = COLUMNS.map((status) => summary[status]).join(' | ');
    const shard = run.shard === null ? '' : ` (shard ${run.shard})`;
    lines.push(
      `| ${cell(run.kernel)} | ${cell(run.machine)}${shard} | ${counts} | ${duration(run.durationMs)} |`,
    );
  }
  lines.push('');
  for (const results of runs) {
    const end = earlyEnd(results);
    if (end !== undefined) lines.push(`**${cell(end)}**`, '');
  }
  const bad = runs.flatMap(({ run, tests }) =>
    tests.filter(({ status }) => isBad(status)).map((test) => ({ run, test })),
  );
  for (const { run, test } of bad.slice(0, MOST_EXPLAINED)) {
    const title = `${test.status}: <code>${cell(test.id)}</code> on ${cell(run.kernel)} (${cell(run.machine)})`;
    const details = explain(test).flatMap((line) => printable(line).split('\n'));
    // Indented code: no text can end it.
    const code = details.slice(0, MOST_LINES).map((line) => `    ${line}`);
    lines.push(`<details><summary>${title}</summary>`, '', cell(test.title), '', ...code, '');
    lines.push('</details>', '');
  }
  if (bad.length > MOST_EXPLAINED) {
    lines.push(`… and ${bad.length - MOST_EXPLAINED} more`, '');
  }
  return lines.join('\n');
}

/** Text that Markdown and HTML take as text. */
function cell(text: string): string {
  return oneLine(text).replace(
    /[\\`*_{}[\]<>()#!|~&]/g,
    (character) => `&#${character.charCodeAt(0)};`,
  );
}
