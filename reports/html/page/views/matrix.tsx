import { createColumnHelper } from '@tanstack/preact-table';
import { useMemo } from 'preact/hooks';
import { historyOf, isSteady, type History } from '../../../history.ts';
import { count } from '../../../text.ts';
import { isChosen, TableTools } from '../choices.tsx';
import { DataTable } from '../data-table.tsx';
import { GRAVITY } from '../model.ts';
import { useReport } from '../report.ts';
import { formatRoute } from '../route.ts';
import { StatusIcon } from '../status.tsx';
import type { Features } from '../table-features.ts';

type HistoryRow = History['tests'][number];

/** Test × run: how each test ended on each kernel, flakes with their rate. */
export function MatrixView() {
  const { data, names, route } = useReport();
  const { tests } = useMemo(() => historyOf(data.runs), [data]);
  const columns = useMemo(() => columnsFor(names, tests), [names, tests]);
  const all = isChosen(route.params, 'all');
  const text = (route.params['q'] ?? '').toLowerCase();
  const shown = useMemo(
    () => tests.filter((test) => (all || !isSteady(test)) && test.id.toLowerCase().includes(text)),
    [tests, all, text],
  );
  return (
    <>
      <TableTools
        search="Search tests"
        toggle={{ param: 'all', label: 'also the tests that ended alike everywhere' }}
      >
        {shown.length} of {count(tests.length, 'test')}
      </TableTools>
      <DataTable
        label="Tests and how they ended in each run"
        rows={shown}
        columns={columns}
        keyOf={({ id }) => id}
        empty="All tests passed, or were skipped, in every run."
      />
    </>
  );
}

const helper = createColumnHelper<Features, HistoryRow>();

const FLAKES = helper.accessor(
  ({ flakes }) => Math.max(0, ...flakes.map(({ failed, of }) => failed / of)),
  {
    id: 'flake',
    header: 'Flakes',
    cell: ({ row }) =>
      row.original.flakes.map(({ on, failed, of }) => (
        <span key={on} class="flake" title={on}>
          {failed} of {of} on {on}
        </span>
      )),
    sortFn: 'basic',
    meta: { width: '260px', class: 'c-flake' },
  },
);

function columnsFor(names: readonly string[], tests: readonly HistoryRow[]) {
  return helper.columns([
    helper.accessor('id', {
      header: 'Test',
      sortFn: 'alphanumeric',
      meta: { width: '400px', class: 'c-id' },
    }),
    ...names.map((name, run) =>
      helper.accessor(({ statuses }) => rank(statuses[run]), {
        id: `run-${run}`,
        header: name,
        cell: ({ row }) => <Cell test={row.original} run={run} />,
        sortFn: 'basic',
        meta: { width: '180px', class: 'c-run' },
      }),
    ),
    ...(tests.some(({ flakes }) => flakes.length > 0) ? [FLAKES] : []),
  ]);
}

function rank(status: HistoryRow['statuses'][number] | undefined): number {
  return status ? GRAVITY.indexOf(status) : GRAVITY.length;
}

function Cell({ test: { id, statuses }, run }: { test: HistoryRow; run: number }) {
  const status = statuses[run];
  if (!status) return <span class="note">not run</span>;
  return (
    <a href={formatRoute({ view: 'tests', test: id, params: { run: String(run) } })}>
      <StatusIcon status={status} /> {status}
    </a>
  );
}
