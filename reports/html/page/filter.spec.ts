import { describe, expect, it } from 'vitest';
import { reduceJournal } from '../../reduce.ts';
import { sampleRun } from '../../samples.ts';
import { applyFilters, countFacet, readFilters, writeFilters } from './filter.ts';
import { allRows } from './model.ts';

const results = reduceJournal(sampleRun());
const runs = [results, results].map((one) => ({ directory: 'results', results: one }));
const rows = allRows({ runs });
const shown = (params: Record<string, string>) => applyFilters(rows, readFilters(params));

describe('filters of the table of tests', () => {
  it('let everything through if nothing is asked for', () => {
    expect(shown({})).toHaveLength(18);
  });

  it('combine; of one kind any value will do', () => {
    expect(shown({ status: 'fail,crash' })).toHaveLength(4);
    expect(shown({ status: 'fail,crash', suite: 'container', runs: '1' })).toHaveLength(1);
    expect(shown({ suite: 'nowhere' })).toHaveLength(0);
  });

  it('find words wherever they are, the kernel log included', () => {
    expect(shown({ q: 'PROMISE crash' })).toHaveLength(2);
    expect(shown({ q: '1.000000] forged', status: 'skip' })).toHaveLength(2);
  });

  it('take parts of a uAPI item for the item', () => {
    rows[0]!.test.covers = ['VFIO_DEVICE_RESET:EINVAL'];
    expect(shown({ item: 'VFIO_DEVICE_RESET', runs: '0' })).toHaveLength(1);
    expect(shown({ item: 'VFIO_DEVICE_RE', runs: '0' })).toHaveLength(0);
  });

  it('say how much each value of a kind would show', () => {
    const counts = countFacet(rows, readFilters({ status: 'fail', suite: 'device' }), 'status');
    expect(counts.get('fail')).toBe(2);
    expect(counts.get('pass')).toBe(0);
  });

  it('are kept in an address', () => {
    const filters = readFilters({ q: 'a b', status: 'fail,crash', item: 'X', runs: '0' });
    expect(readFilters(writeFilters(filters))).toEqual(filters);
  });
});
