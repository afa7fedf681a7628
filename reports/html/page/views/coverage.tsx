import { createColumnHelper } from '@tanstack/preact-table';
import { useMemo } from 'preact/hooks';
import type { Status } from '../../../../harness/protocol/test.ts';
import type { CoverageRow } from '../../../coverage.ts';
import { count } from '../../../text.ts';
import { isChosen, TableTools } from '../choices.tsx';
import { DataTable } from '../data-table.tsx';
import { useReport } from '../report.ts';
import { formatRoute } from '../route.ts';
import { StatusBar, summaryOf } from '../status.tsx';
import type { Features } from '../table-features.ts';
import type { Summary } from '../../../results.ts';

interface ItemRow extends CoverageRow {
  /** How its tests ended, over all runs. */
  summary: Partial<Summary>;
}

/** Which uAPI items the tests of these runs cover, how those ended, and what no test covers. */
export function CoverageView() {
  const { data, rows, route } = useReport();
  const items = useMemo((): ItemRow[] => {
    const ends = new Map<string, Status[]>();
    for (const { test } of rows) ends.set(test.id, [...(ends.get(test.id) ?? []), test.status]);
    return data.coverage.map((row) => ({
      ...row,
      summary: summaryOf(
        row.tests.flatMap((id) => (ends.get(id) ?? []).map((status) => ({ status }))),
      ),
    }));
  }, [data, rows]);
  const text = (route.params['q'] ?? '').toLowerCase();
  const gaps = isChosen(route.params, 'gaps');
  const shown = useMemo(
    () =>
      items.filter(
        (row) =>
          row.item.toLowerCase().includes(text) &&
          (!gaps || (row.tests.length === 0 && row.reason === null)),
      ),
    [items, text, gaps],
  );
  return (
    <>
      <TableTools
        search="Search uAPI items"
        toggle={{ param: 'gaps', label: 'only what these runs did not test' }}
      >
        {sentence(items)}
      </TableTools>
      <DataTable
        label="uAPI items"
        rows={shown}
        columns={COLUMNS}
        keyOf={({ item }) => item}
        empty="No item is like that."
      />
    </>
  );
}

function sentence(items: readonly ItemRow[]): string {
  const tested = items.filter(({ tests }) => tests.length > 0).length;
  const excused = items.filter(({ reason }) => reason !== null).length;
  return (
    `${count(items.length, 'item')}: ${tested} tested, ${excused} excused, ` +
    `${items.length - tested - excused} not tested in these runs`
  );
}

const helper = createColumnHelper<Features, ItemRow>();

const COLUMNS = helper.columns([
  helper.accessor('item', {
    header: 'uAPI item',
    cell: ({ getValue }) => <Item item={getValue()} />,
    sortFn: 'alphanumeric',
    meta: { class: 'c-id' },
  }),
  helper.accessor('fd', {
    header: 'Made on',
    sortFn: 'alphanumeric',
    meta: { width: '110px' },
  }),
  helper.accessor(({ tests }) => tests.length, {
    id: 'tests',
    header: 'Tests',
    cell: ({ row, getValue }) =>
      getValue() === 0 ? (
        '0'
      ) : (
        <a href={formatRoute({ view: 'tests', test: null, params: { item: row.original.item } })}>
          {getValue()}
        </a>
      ),
    sortFn: 'basic',
    meta: { width: '70px', class: 'c-time' },
  }),
  helper.display({
    id: 'ends',
    header: 'How they ended',
    cell: ({ row }) => <Ends row={row.original} />,
    meta: { class: 'c-ends' },
  }),
]);

/** Of a part of an ioctl the ioctl steps back, so that parts are seen as parts. */
function Item({ item }: { item: string }) {
  const mark = item.indexOf(':');
  if (mark < 0) return <b>{item}</b>;
  return (
    <>
      <span class="note">{item.slice(0, mark + 1)}</span>
      {item.slice(mark + 1)}
    </>
  );
}

function Ends({ row }: { row: ItemRow }) {
  if (row.tests.length > 0) return <StatusBar summary={row.summary} />;
  if (row.reason !== null) return <span class="note">{row.reason}</span>;
  return <b class="gap">not tested</b>;
}
