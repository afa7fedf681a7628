import type { RefObject } from 'preact';
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
export function Toggle({ label, param }: { label: string; param: string }) {
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

/** Whether a {@link Toggle} is chosen. */
export function isChosen(params: Readonly<Record<string, string>>, param: string): boolean {
  return params[param] === '1';
}
