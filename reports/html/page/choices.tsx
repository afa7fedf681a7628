import type { ComponentChildren, RefObject } from 'preact';
import { useReport } from './report.ts';

/** Controls that keep their value in the address of the page. */

interface SearchProps {
  /** What is searched, in few words. */
  label: string;
  param?: string;
  input?: RefObject<HTMLInputElement | null>;
}

/** A field for the words to search for. */
export function SearchField({ label, param = 'q', input }: SearchProps) {
  const { route, choose } = useReport();
  return (
    <input
      ref={input}
      type="search"
      placeholder={label}
      aria-label={label}
      value={route.params[param] ?? ''}
      onInput={(event) => choose({ [param]: event.currentTarget.value })}
    />
  );
}

/** A choice that is made or not. */
function Toggle({ label, param }: { label: string; param: string }) {
  const { route, choose } = useReport();
  return (
    <label>
      <input
        type="checkbox"
        checked={isChosen(route.params, param)}
        onChange={(event) => choose({ [param]: event.currentTarget.checked ? '1' : '' })}
      />{' '}
      {label}
    </label>
  );
}

interface TableToolsProps {
  /** What is searched, in few words. */
  search: string;
  toggle: { label: string; param: string };
  /** How much the table shows. */
  children: ComponentChildren;
}

/** What stands above a table that is searched and has one choice. */
export function TableTools({ search, toggle, children }: TableToolsProps) {
  return (
    <div class="toolbar">
      <SearchField label={search} />
      <Toggle {...toggle} />
      <span class="count" role="status">
        {children}
      </span>
    </div>
  );
}

/** Whether a {@link Toggle} is chosen. */
export function isChosen(params: Readonly<Record<string, string>>, param: string): boolean {
  return params[param] === '1';
}
