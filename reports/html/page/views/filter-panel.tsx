import type { RefObject } from 'preact';
import { useMemo } from 'preact/hooks';
import type { Status } from '../../../../harness/protocol/test.ts';
import { SearchField } from '../choices.tsx';
import { countFacet, writeFilters, type Facet, type Filters } from '../filter.ts';
import { GRAVITY } from '../model.ts';
import { useReport } from '../report.ts';
import { StatusIcon } from '../status.tsx';

interface Props {
  filters: Filters;
  search: RefObject<HTMLInputElement | null>;
}

/** Search and filters; each value says how many tests it would show. */
export function FilterPanel({ filters, search }: Props) {
  const { rows, names, choose } = useReport();
  const items = useMemo(() => [...new Set(rows.flatMap(({ test }) => test.covers))].sort(), [rows]);
  const change = (part: Partial<Filters>) => choose(writeFilters(part));
  const filtered = Object.values(filters).some((value) => value.length > 0);
  return (
    <aside class="filters" aria-label="Filters">
      <SearchField label="Search tests and logs" input={search} />
      <FacetList
        title="Status"
        facet="status"
        filters={filters}
        labelOf={(status) => (
          <>
            <StatusIcon status={status as Status} /> {status}
          </>
        )}
        order={GRAVITY}
      />
      <FacetList title="Suite" facet="suite" filters={filters} labelOf={(suite) => suite} />
      {names.length > 1 && (
        <FacetList
          title="Kernel"
          facet="run"
          filters={filters}
          labelOf={(run) => names[Number(run)]}
        />
      )}
      <fieldset>
        <legend>uAPI item</legend>
        <input
          type="search"
          list="uapi-items"
          placeholder="VFIO_IOMMU_MAP_DMA"
          aria-label="uAPI item that the tests cover"
          value={filters.item}
          onInput={(event) => change({ item: event.currentTarget.value.trim() })}
        />
        <datalist id="uapi-items">
          {items.map((item) => (
            <option key={item} value={item} />
          ))}
        </datalist>
      </fieldset>
      <button
        type="button"
        disabled={!filtered}
        onClick={() => change({ text: '', status: [], suite: [], run: [], item: '' })}
      >
        Show all
      </button>
    </aside>
  );
}

interface FacetProps {
  title: string;
  facet: Facet;
  filters: Filters;
  labelOf: (value: string) => preact.ComponentChildren;
  order?: readonly string[];
}

function FacetList({ title, facet, filters, labelOf, order }: FacetProps) {
  const { rows, choose } = useReport();
  const counts = useMemo(
    () => countFacet(rows, filters, facet),
    [rows, facet, JSON.stringify(filters)],
  );
  const chosen = filters[facet];
  const values = order ? order.filter((value) => counts.has(value)) : [...counts.keys()].sort();
  const toggle = (value: string) =>
    choose(
      writeFilters({
        [facet]: chosen.includes(value)
          ? chosen.filter((other) => other !== value)
          : [...chosen, value],
      }),
    );
  return (
    <fieldset>
      <legend>{title}</legend>
      {values.map((value) => (
        <label key={value} class={counts.get(value) === 0 ? 'none' : undefined}>
          <input
            type="checkbox"
            name={`${facet}-${value}`}
            checked={chosen.includes(value)}
            onChange={() => toggle(value)}
          />
          <span class="name">{labelOf(value)}</span>
          <span class="n">{counts.get(value)}</span>
        </label>
      ))}
    </fieldset>
  );
}
