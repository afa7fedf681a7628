import { describe, expect, it } from 'vitest';
import { formatRoute, parseRoute } from './route.ts';

describe('the address of a place in the report', () => {
  it.each([
    ['', { view: 'overview', test: null, params: {} }],
    ['#/nowhere', { view: 'overview', test: null, params: {} }],
    ['#/coverage?q=MAP', { view: 'coverage', test: null, params: { q: 'MAP' } }],
    ['#irq.msi@edu?run=1', { view: 'tests', test: 'irq.msi@edu', params: { run: '1' } }],
    ['#100%', { view: 'tests', test: '100%', params: {} }],
  ] as const)('%s is understood', (fragment, route) => {
    expect(parseRoute(fragment)).toEqual(route);
  });

  it.each(['irq.msi@edu', 'a?b#c/d<e>%', '</script>'])('leads to the test %s again', (test) => {
    const route = { view: 'tests', test, params: { q: 'a b&c=d' } } as const;
    expect(parseRoute(formatRoute(route))).toEqual(route);
  });

  it('is short where it can be', () => {
    expect(formatRoute({ view: 'tests', test: 'irq.msi@edu', params: { run: '' } })).toBe(
      '#irq.msi@edu',
    );
  });
});
