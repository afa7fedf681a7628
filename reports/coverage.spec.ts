import { describe, expect, it } from 'vitest';
import { parseUncovered } from './uncovered.ts';
import {
  coverageOf,
  isIncomplete,
  isKnownItem,
  renderCoverage,
  uncoveredItems,
} from './coverage.ts';
import { sampleTest } from './samples.ts';

const uapi = {
  items: [
    { key: 'MAP', ioctl: 'MAP', fd: 'container' },
    { key: 'MAP:flag:READ', ioctl: 'MAP', fd: 'container' },
    { key: 'RESET', ioctl: 'RESET', fd: 'device' },
    { key: 'TCE', ioctl: 'TCE', fd: 'container' },
  ],
  errnos: ['EINVAL', 'EEXIST'],
};
const test = (id: string, ...covers: string[]) => sampleTest(id, { covers });

describe('coverage', () => {
  it('puts tests beside items, parts count for their ioctl, errnos appear when named', () => {
    const { rows } = coverageOf(
      uapi,
      [test('container.a', 'MAP:flag:READ'), test('container.b', 'MAP', 'MAP:EEXIST')],
      parseUncovered('TCE # powerpc only', 'u'),
    );
    expect(rows.map(({ item, tests, reason }) => [item, tests.join(), reason])).toEqual([
      ['MAP', 'container.a,container.b', null],
      ['MAP:flag:READ', 'container.a', null],
      ['RESET', '', null],
      ['TCE', '', 'powerpc only'],
      ['MAP:EEXIST', 'container.b', null],
    ]);
  });

  it('names gaps, misspelt items and needless excuses, and then is incomplete', () => {
    const table = coverageOf(
      uapi,
      [test('container.a', 'MAP', 'MAP:flag:RAED', 'MAP:EFOO')],
      parseUncovered('# comment\n\nMAP # tested by now\nT* # powerpc only', 'u'),
    );
    expect(uncoveredItems(table)).toEqual(['MAP:flag:READ', 'RESET']);
    expect(table.unknown.map(({ item }) => item)).toEqual(['MAP:flag:RAED', 'MAP:EFOO']);
    expect(table.needless).toEqual(['u:3: MAP']);
    expect(isIncomplete(table)).toBe(true);
    expect(renderCoverage(table)).toMatch(/^RESET +0 {2}UNCOVERED$/m);
    expect(renderCoverage(table)).toContain('4 items: 1 covered, 1 excused, 2 uncovered');
  });

  it('shows a suite what it tests and what its kind of fd offers', () => {
    const tests = [test('device.a', 'RESET', 'MAP')];
    const items = coverageOf(uapi, tests, [], 'device').rows.map(({ item }) => item);
    expect(items).toEqual(['MAP', 'RESET']);
  });

  it('knows flags by name and errnos of every ioctl, but not of its parts', () => {
    expect(isKnownItem(uapi, 'RESET:EINVAL')).toBe(true);
    expect(isKnownItem(uapi, 'MAP:flag:READ:EINVAL')).toBe(false);
    expect(isKnownItem(uapi, 'NOTHING:EINVAL')).toBe(false);
  });

  it('refuses an excuse without a reason', () => {
    expect(() => parseUncovered('MAP', 'u')).toThrow(/u:1 .*'item # reason'/);
  });
});
