import { useTable, type SortingState } from '@tanstack/preact-table';
import { useContext, useEffect, useId, useRef, useState } from 'preact/hooks';
import { Printing } from './printing.ts';
import { features, type Columns } from './table-features.ts';
import { rowsInSight, useVirtualRows } from './use-virtual-rows.ts';

interface Props<Row extends object> {
  /** What the table is, for those who cannot see it. */
  label: string;
  rows: readonly Row[];
  columns: Columns<Row>;
  keyOf: (row: Row) => string;
  /** Key of the row that is open. */
  selected?: string | undefined;
  /** Makes rows something that can be opened. */
  onOpen?: (row: Row) => void;
  /** Enter: on to what was opened. */
  onEnter?: () => void;
  /** Column that the rows are sorted by at first; they stay as they come if absent. */
  sortBy?: string;
  /** What to say if there is no row. */
  empty: string;
}

/** A table of any length that sorts by a click on a heading and is walked with the arrow keys. */
export function DataTable<Row extends object>(props: Props<Row>) {
  const { label, columns, keyOf, selected, onOpen } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const prefix = useId();
  const [sorting, setSorting] = useState<SortingState>(
    props.sortBy === undefined ? [] : [{ id: props.sortBy, desc: false }],
  );
  const table = useTable({
    features,
    columns,
    data: props.rows,
    getRowId: keyOf,
    state: { sorting },
    onSortingChange: setSorting,
  });
  const { rows } = table.getRowModel();
  const virtualizer = useVirtualRows(rows.length, scroller);
  const printing = useContext(Printing);
  const sight = printing
    ? { indexes: rows.map((_, index) => index), above: 0, below: 0 }
    : rowsInSight(virtualizer);
  const current = rows.findIndex(({ id }) => id === selected);

  useEffect(() => {
    if (current >= 0) virtualizer.scrollToIndex(current, { align: 'auto' });
  }, [current]);

  const walk = (event: KeyboardEvent) => {
    if (event.key === 'Enter' && event.target === event.currentTarget) props.onEnter?.();
    const target = targetOf(event.key, current, rows.length);
    const row = target === undefined ? undefined : rows[target];
    if (!row || !onOpen) return;
    event.preventDefault();
    onOpen(row.original);
  };

  return (
    <div class="table-scroller" ref={scroller}>
      <table
        class={onOpen ? 'data openable' : 'data'}
        role="grid"
        tabIndex={0}
        aria-label={label}
        aria-rowcount={rows.length + 1}
        aria-activedescendant={current >= 0 ? `${prefix}-${selected}` : undefined}
        onKeyDown={walk}
      >
        <colgroup>
          {table.getAllColumns().map((column) => (
            <col
              key={column.id}
              class={column.columnDef.meta?.class}
              style={{ width: column.columnDef.meta?.width }}
            />
          ))}
        </colgroup>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id}>
              {group.headers.map((header) => (
                <th
                  key={header.id}
                  class={header.column.columnDef.meta?.class}
                  aria-sort={ARIA_SORT[header.column.getIsSorted() || 'none']}
                >
                  <button type="button" onClick={header.column.getToggleSortingHandler()}>
                    <table.FlexRender header={header} />
                    <span class="sort" aria-hidden="true">
                      {SORT_MARK[header.column.getIsSorted() || 'none']}
                    </span>
                  </button>
                </th>
              ))}
            </tr>
          ))}
        </thead>
        <tbody>
          <Spacer height={sight.above} />
          {sight.indexes.map((index) => {
            const row = rows[index];
            if (!row) return null;
            return (
              <tr
                key={row.id}
                id={`${prefix}-${row.id}`}
                aria-rowindex={index + 2}
                aria-selected={onOpen ? row.id === selected : undefined}
                onClick={onOpen && (() => onOpen(row.original))}
              >
                {row.getAllCells().map((cell) => (
                  <td key={cell.id} class={cell.column.columnDef.meta?.class}>
                    <table.FlexRender cell={cell} />
                  </td>
                ))}
              </tr>
            );
          })}
          <Spacer height={sight.below} />
        </tbody>
      </table>
      {rows.length === 0 && <p class="empty">{props.empty}</p>}
    </div>
  );
}

const ARIA_SORT = { asc: 'ascending', desc: 'descending', none: 'none' } as const;
const SORT_MARK = { asc: '▲', desc: '▼', none: '' } as const;
/** Rows that Page Up and Page Down leap over. */
const PAGE = 20;

/** Where a key leads from a row of `count`; undefined for keys that lead nowhere. */
function targetOf(key: string, current: number, count: number): number | undefined {
  const to = (index: number) => Math.max(0, Math.min(count - 1, index));
  switch (key) {
    case 'ArrowDown':
    case 'j':
      return to(current + 1);
    case 'ArrowUp':
    case 'k':
      return to(current - 1);
    case 'PageDown':
      return to(current + PAGE);
    case 'PageUp':
      return to(current - PAGE);
    case 'Home':
      return 0;
    case 'End':
      return to(count - 1);
    default:
      return undefined;
  }
}

/** Keeps the place of rows that are out of sight. */
function Spacer({ height }: { height: number }) {
  return height > 0 ? <tr class="spacer" aria-hidden="true" style={{ height }} /> : null;
}
