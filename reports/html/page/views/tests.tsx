import { createColumnHelper } from '@tanstack/preact-table';
import { useMemo, useRef } from 'preact/hooks';
import { count, duration } from '../../../text.ts';
import { DataTable } from '../data-table.tsx';
import { applyFilters, readFilters } from '../filter.ts';
import { findRow, gravity, type Row } from '../model.ts';
import { useReport } from '../report.ts';
import { formatRoute } from '../route.ts';
import { StatusBadge } from '../status.tsx';
import { runColumns, type Features } from '../table-features.ts';
import { useShortcuts } from '../use-shortcuts.ts';
import { Dossier } from './dossier.tsx';
import { FilterPanel } from './filter-panel.tsx';

/** The table of tests with its filters, and the dossier of the one that is open. */
export function TestsView() {
  const { rows, names, route, go } = useReport();
  const filters = readFilters(route.params);
  const shown = useMemo(() => applyFilters(rows, filters), [rows, JSON.stringify(filters)]);
  const columns = useMemo(() => columnsFor(names), [names]);
  const open = route.test === null ? undefined : findRow(rows, route.test, route.params['run']);
  const dossier = useRef<HTMLElement>(null);
  const search = useRef<HTMLInputElement>(null);
  const close = () => {
    if (route.test === null) return;
    go({ view: 'tests', test: null, params: { ...route.params, run: '' } });
  };
  useShortcuts({ '/': () => search.current?.focus(), Escape: close });
  return (
    <>
      <FilterPanel filters={filters} search={search} />
      <section class="list" aria-label="Tests">
        <p class="count" role="status">
          {shown.length === rows.length
            ? count(rows.length, 'test')
            : `${shown.length} of ${count(rows.length, 'test')}`}
          <span class="keys">
            <kbd>/</kbd> search <kbd>↑</kbd> <kbd>↓</kbd> walk <kbd>Enter</kbd> read <kbd>Esc</kbd>{' '}
            close
          </span>
        </p>
        <DataTable
          label="Tests"
          rows={shown}
          columns={columns}
          keyOf={keyOf}
          sortBy="status"
          selected={open && keyOf(open)}
          onOpen={({ test, run }) =>
            go({ view: 'tests', test: test.id, params: { ...route.params, run: runParam(run) } })
          }
          onEnter={() => dossier.current?.focus()}
          empty="No test is like that. Take a filter away."
        />
      </section>
      {open && <Dossier row={open} onClose={close} panel={dossier} />}
      {route.test !== null && !open && (
        <p class="empty">There is no test {route.test} in this report.</p>
      )}
    </>
  );

  /** Links to a test of the only run need not say which run. */
  function runParam(run: number): string {
    return names.length > 1 ? String(run) : '';
  }
}

function keyOf({ test, run }: Row): string {
  return `${run}/${test.id}`;
}

const helper = createColumnHelper<Features, Row>();

function columnsFor(names: readonly string[]) {
  return helper.columns([
    helper.accessor(({ test }) => gravity(test), {
      id: 'status',
      header: 'Status',
      cell: ({ row }) => <StatusBadge status={row.original.test.status} />,
      sortFn: 'basic',
      meta: { width: '96px', class: 'c-status' },
    }),
    helper.accessor(({ test }) => test.id, {
      id: 'id',
      header: 'Test',
      cell: ({ row }) => <TestLink row={row.original} several={names.length > 1} />,
      sortFn: 'alphanumeric',
      meta: { class: 'c-id' },
    }),
    helper.accessor(({ test }) => test.title, {
      id: 'title',
      header: 'Promise',
      sortFn: 'alphanumeric',
      meta: { class: 'c-title' },
    }),
    ...runColumns<Row>(names),
    helper.accessor(({ test }) => test.durationMs, {
      id: 'duration',
      header: 'Time',
      cell: ({ getValue }) => duration(getValue()),
      sortFn: 'basic',
      meta: { width: '84px', class: 'c-time' },
    }),
  ]);
}

/** A link, so that a test can be opened in a tab of its own, or its address be copied. */
function TestLink({ row: { test, run }, several }: { row: Row; several: boolean }) {
  const params = { run: several ? String(run) : '' };
  return (
    <a
      href={formatRoute({ view: 'tests', test: test.id, params })}
      tabIndex={-1}
      onClick={(event) => {
        // The row opens it and keeps the filters.
        if (!event.ctrlKey && !event.metaKey && !event.shiftKey) event.preventDefault();
      }}
    >
      {test.id}
    </a>
  );
}
