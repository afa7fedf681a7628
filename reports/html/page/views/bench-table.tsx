import { createColumnHelper } from '@tanstack/preact-table';
import { useMemo, useRef } from 'preact/hooks';
import type { LatencySummary } from '../../../bench-results.ts';
import { latency } from '../../../bench/table.ts';
import { count } from '../../../text.ts';
import { intervalText, type BenchRow } from '../bench-model.ts';
import { SearchField } from '../choices.tsx';
import { DataTable } from '../data-table.tsx';
import { useReport } from '../report.ts';
import { StatusBadge } from '../status.tsx';
import { runColumns, type Features } from '../table-features.ts';
import { useShortcuts } from '../use-shortcuts.ts';
import { BenchDossier } from './bench-dossier.tsx';

interface Props {
  rows: readonly BenchRow[];
  names: readonly string[];
}

/** All figures, and beside them the distribution of the benchmark that is open. */
export function BenchTable({ rows, names }: Props) {
  const { route, choose } = useReport();
  const text = (route.params['q'] ?? '').toLowerCase();
  const shown = useMemo(
    () => rows.filter(({ bench }) => bench.id.toLowerCase().includes(text)),
    [rows, text],
  );
  const columns = useMemo(() => columnsFor(names), [names]);
  const open = rows.filter(({ bench }) => bench.id === route.params['bench']);
  const current = open.find(({ run }) => String(run) === route.params['run']) ?? open[0];
  const panel = useRef<HTMLElement>(null);
  const search = useRef<HTMLInputElement>(null);
  const close = () => choose({ bench: '', run: '' });
  useShortcuts({ '/': () => search.current?.focus(), Escape: close });
  return (
    <div class="split">
      <section class="list" aria-label="Benchmarks">
        <div class="toolbar">
          <SearchField label="Search benchmarks" input={search} />
          <span class="count" role="status">
            {shown.length === rows.length
              ? count(rows.length, 'benchmark')
              : `${shown.length} of ${count(rows.length, 'benchmark')}`}
          </span>
        </div>
        <DataTable
          label="Benchmarks"
          rows={shown}
          columns={columns}
          keyOf={keyOf}
          selected={current && keyOf(current)}
          onOpen={({ bench, run }) => choose({ bench: bench.id, run: String(run) })}
          onEnter={() => panel.current?.focus()}
          empty="No benchmark is like that."
        />
      </section>
      {current && (
        <BenchDossier row={current} same={open} names={names} onClose={close} panel={panel} />
      )}
    </div>
  );
}

function keyOf({ bench, run }: BenchRow): string {
  return `${run}/${bench.id}`;
}

const FIGURES = ['min', 'p50', 'p90', 'p99', 'max'] as const;

const helper = createColumnHelper<Features, BenchRow>();

function columnsFor(names: readonly string[]) {
  return helper.columns([
    helper.accessor(({ bench }) => bench.id, {
      id: 'id',
      header: 'Benchmark',
      sortFn: 'alphanumeric',
      meta: { class: 'c-id' },
    }),
    ...runColumns<BenchRow>(names),
    ...FIGURES.map(figure),
    helper.accessor(({ bench }) => bench.summary?.intervals.p50[0] ?? -1, {
      id: 'interval',
      header: 'p50 interval',
      cell: ({ row }) => {
        const { summary, status } = row.original.bench;
        return summary ? intervalText(summary.intervals.p50) : <StatusBadge status={status} />;
      },
      sortFn: 'basic',
      meta: { width: '150px', class: 'c-time c-wide' },
    }),
    helper.accessor(({ bench }) => bench.samples, {
      id: 'samples',
      header: 'Samples',
      sortFn: 'basic',
      meta: { width: '84px', class: 'c-time c-wide' },
    }),
    helper.accessor(({ bench }) => bench.warnings.length, {
      id: 'warnings',
      header: 'Warnings',
      cell: ({ getValue }) => (getValue() > 0 ? `! ${getValue()}` : ''),
      sortFn: 'basic',
      meta: { width: '84px', class: 'c-time c-wide' },
    }),
  ]);
}

function figure(name: (typeof FIGURES)[number] & keyof LatencySummary) {
  return helper.accessor(({ bench }) => bench.summary?.[name] ?? -1, {
    id: name,
    header: name,
    cell: ({ getValue }) => (getValue() < 0 ? '' : latency(getValue())),
    sortFn: 'basic',
    meta: { width: '84px', class: name === 'p50' ? 'c-time c-p50' : 'c-time c-wide' },
  });
}
