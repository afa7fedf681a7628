import type { Row } from './model.ts';

/** What the table of tests shows; an empty list or text lets everything through. */
export interface Filters {
  text: string;
  status: string[];
  suite: string[];
  /** Indexes of runs. */
  run: string[];
  /** A uAPI item; of an ioctl also its parts. */
  item: string;
}

export type Facet = 'status' | 'suite' | 'run';

/** The filters in the parameters of an address. */
export function readFilters(params: Readonly<Record<string, string>>): Filters {
  const list = (name: string) => params[name]?.split(',').filter((word) => word !== '') ?? [];
  return {
    text: params['q'] ?? '',
    status: list('status'),
    suite: list('suite'),
    run: list('runs'),
    item: params['item'] ?? '',
  };
}

/** Parameters that say these filters; what lets everything through is empty. */
export function writeFilters(filters: Partial<Filters>): Record<string, string> {
  return {
    ...(filters.text !== undefined && { q: filters.text }),
    ...(filters.status && { status: filters.status.join(',') }),
    ...(filters.suite && { suite: filters.suite.join(',') }),
    ...(filters.run && { runs: filters.run.join(',') }),
    ...(filters.item !== undefined && { item: filters.item }),
  };
}

export function applyFilters(rows: readonly Row[], filters: Filters): Row[] {
  const matches = matcher(filters);
  return rows.filter(matches);
}

/** How many rows each value of a facet has, if the facet itself did not filter. */
export function countFacet(
  rows: readonly Row[],
  filters: Filters,
  facet: Facet,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(valueOf(row, facet), 0);
  for (const row of applyFilters(rows, { ...filters, [facet]: [] })) {
    const value = valueOf(row, facet);
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  return counts;
}

function valueOf({ test, run }: Row, facet: Facet): string {
  return facet === 'run' ? String(run) : test[facet];
}

/** Every word has to be somewhere: id, promise, what went wrong, the kernel's words. */
function matcher({ text, status, suite, run, item }: Filters): (row: Row) => boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const within = (values: readonly string[], value: string) =>
    values.length === 0 || values.includes(value);
  return (row) =>
    within(status, row.test.status) &&
    within(suite, row.test.suite) &&
    within(run, String(row.run)) &&
    (item === '' || row.test.covers.some((key) => key === item || key.startsWith(`${item}:`))) &&
    (words.length === 0 || hasAll(searchText(row), words));
}

function hasAll(text: string, words: readonly string[]): boolean {
  return words.every((word) => text.includes(word));
}

const searchTexts = new WeakMap<Row, string>();

function searchText(row: Row): string {
  const known = searchTexts.get(row);
  if (known !== undefined) return known;
  const { id, title, skip, failure, kernelLog } = row.test;
  const parts = [id, title, ...skip, failure?.message ?? '', failure?.observed ?? '', ...kernelLog];
  const text = parts.join('\n').toLowerCase();
  searchTexts.set(row, text);
  return text;
}
