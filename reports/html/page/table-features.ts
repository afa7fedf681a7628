import {
  createColumnHelper,
  createSortedRowModel,
  metaHelper,
  rowSortingFeature,
  sortFn_alphanumeric,
  sortFn_basic,
  tableFeatures,
  type ColumnDef,
} from '@tanstack/preact-table';

/** What the tables of this page do: sort. Filters are the views' own. */
export const features = tableFeatures({
  rowSortingFeature,
  sortedRowModel: createSortedRowModel(),
  sortFns: { alphanumeric: sortFn_alphanumeric, basic: sortFn_basic },
  columnMeta: metaHelper<{
    /** CSS width; without one the column shares what is left. */
    width?: string;
    /** Class of the column's cells. */
    class?: string;
  }>(),
});

export type Features = typeof features;
// A table's columns have values of different types.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Columns<Row extends object> = readonly ColumnDef<Features, Row, any>[];

/** The column that says which run a row is of, if there are several. */
export function runColumns<Row extends { run: number }>(names: readonly string[]) {
  if (names.length === 1) return [];
  const helper = createColumnHelper<Features, Row>();
  return [
    helper.accessor(({ run }) => names[run] ?? '', {
      id: 'run',
      header: 'Kernel',
      sortFn: 'alphanumeric',
      meta: { width: '190px', class: 'c-run' },
    }),
  ];
}
