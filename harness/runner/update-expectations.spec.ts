import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { reduceJournal } from '../../reports/reduce.ts';
import type { RunResults } from '../../reports/results.ts';
import { asLines, sampleBegin, sampleTest } from '../../reports/samples.ts';
import { readExpectations } from './expectations.ts';
import { applyEdits, expectationEdits, FILL_IN } from './update-expectations.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vfio-conformance-expectations-'));
});

/** A run, judged by the expectations in the folder. */
function run(endings: Record<string, 'pass' | 'fail' | 'error'>, machine = 'default'): RunResults {
  const ids = Object.keys(endings);
  const known = readExpectations(folder, '7.3.4', machine);
  const found = ids.flatMap((id) => {
    const expectation = known.of(id);
    return expectation ? [[id, expectation] as const] : [];
  });
  return reduceJournal(
    asLines([
      {
        ...sampleBegin(
          ids.map((id) => sampleTest(id)),
          Object.fromEntries(found),
        ),
        machine,
      },
      ...ids.map((id) => ({
        type: 'test-end' as const,
        id,
        status: endings[id]!,
        durationMs: 1,
        skip: [],
        kernelLog: [],
        ...(endings[id] !== 'pass' && {
          failure: { kind: 'assertion' as const, message: 'expected 1', calls: [], hints: [] },
        }),
      })),
    ]),
  );
}

const file = (name: string) => readFileSync(join(folder, name), 'utf8');

it('adds what fails, so that the same run ends as expected', () => {
  writeFileSync(join(folder, '7.3-fails.txt'), '# comment');
  const endings = { 'container.a': 'fail', 'container.b': 'pass', 'container.c': 'error' } as const;
  const edits = expectationEdits([run(endings)], folder);
  applyEdits(edits, folder);
  expect(file('7.3-fails.txt')).toBe(
    `# comment\ncontainer.a  # ${FILL_IN} container.a: expected N\n`,
  );
  const again = run(endings);
  expect(again.tests.map(({ status }) => status)).toEqual(['xfail', 'pass', 'error']);
  expect(expectationEdits([again], folder)).toEqual([]);
});

it('tells flakes from failures by several runs, and machines apart', () => {
  const runs = [
    run({ 'container.a': 'fail', 'container.b': 'fail' }),
    run({ 'container.a': 'pass', 'container.b': 'fail' }),
    run({ 'container.b': 'fail' }, 'virtio-iommu'),
  ];
  expect(expectationEdits(runs, folder).map(({ file: name, line }) => [name, line])).toEqual([
    ['7.3-flakes.txt', `container.a  # ${FILL_IN} container.a: expected N (1 of 2 runs)`],
    ['7.3-fails.txt', `container.b  # ${FILL_IN} container.b: expected N`],
    ['7.3-virtio-iommu-fails.txt', `container.b  # ${FILL_IN} container.b: expected N`],
  ]);
});

it('removes the line of a test that passes by now, but not a glob', () => {
  writeFileSync(join(folder, 'all-fails.txt'), '# x\ncontainer.a # bug\ndevice.* # bug\n');
  const edits = expectationEdits([run({ 'container.a': 'pass', 'device.a': 'pass' })], folder);
  expect(edits).toEqual([{ file: 'all-fails.txt', action: 'remove', line: 'container.a # bug' }]);
  applyEdits(edits, folder);
  expect(file('all-fails.txt')).toBe('# x\ndevice.* # bug\n');
});
