import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { build, worker } from '../../setup/build.mjs';
import { projectFolder } from '../../setup/paths.mjs';
import type { RunResults, TestResult } from '../../reports/results.ts';
import { readResults, resultsFolder, start, type Finished } from './vfio-conformance.ts';

const WORKER = join(projectFolder, 'dist/e2e-worker.mjs');
const PLANTED = 8;
/** Operations that a person is expected to look at. */
const MOST_OPERATIONS = 5;

beforeAll(() => build([worker('tests/e2e/suites', 'dist/e2e-worker.mjs')]));

describe('planted bugs', () => {
  let finished: Finished;
  let results: RunResults;

  beforeAll(async () => {
    const folder = resultsFolder();
    const args = ['fuzz', 'e2e.planted', '--runs', '1', '--seed', '2', '--results', folder];
    finished = await start(args, WORKER).finished;
    results = readResults(folder);
  });

  const programOf = ({ rerun }: TestResult): string => / --replay '(.*)'/.exec(rerun)?.[1] ?? '';

  it('are found, each by its fuzzer', () => {
    expect(finished.code, finished.output).toBe(1);
    expect(results.tests.map(({ id, status }) => [id, status])).toEqual(
      results.tests.map(({ id }) => [id, 'fail']),
    );
    expect(results.tests).toHaveLength(PLANTED);
  });

  it('are shrunk to a few operations', () => {
    const lengths = results.tests.map((test) => [test.id, programOf(test).split(';').length]);
    expect(lengths.filter(([, length]) => Number(length) > MOST_OPERATIONS)).toEqual([]);
  });

  it('come with a C program and the command that replays them', () => {
    for (const { failure, rerun } of results.tests) {
      expect(failure?.reproducer).toContain('int main(');
      expect(rerun).toContain('fuzz e2e.planted.');
    }
  });
});

it('a seed gives the same program and the same verdict twenty times', async () => {
  const folder = resultsFolder();
  const { code, output } = await start(['run', 'e2e.same-seed.*', '--results', folder], WORKER)
    .finished;
  expect(code, output).toBe(0);
  expect(readResults(folder).summary).toMatchObject({ pass: 4 });
});
