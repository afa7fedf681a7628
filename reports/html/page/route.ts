/** Where in the page one is, as the fragment of its address says: every view and test has a link. */

const VIEWS = ['overview', 'tests', 'matrix', 'compare', 'coverage', 'benchmarks'] as const;
export type View = (typeof VIEWS)[number];

export interface Route {
  view: View;
  /** The test whose dossier is open; only in `tests`. */
  test: string | null;
  /** Filters and choices of the view. */
  params: Readonly<Record<string, string>>;
}

/** `#/coverage?q=MAP` is a view; `#container.map-dma.overlap?run=1` a test. What is not known is the overview. */
export function parseRoute(fragment: string): Route {
  const text = fragment.replace(/^#/, '');
  const mark = text.indexOf('?');
  const path = mark < 0 ? text : text.slice(0, mark);
  const params = Object.fromEntries(new URLSearchParams(mark < 0 ? '' : text.slice(mark + 1)));
  if (path !== '' && !path.startsWith('/')) return { view: 'tests', test: decoded(path), params };
  const view = VIEWS.find((name) => name === path.slice(1)) ?? 'overview';
  return { view, test: null, params };
}

/** The fragment, with `#`, that {@link parseRoute} understands; empty choices are left out. */
export function formatRoute({ view, test, params }: Route): string {
  const query = new URLSearchParams(
    Object.entries(params).filter(([, value]) => value !== ''),
  ).toString();
  const path = test === null ? `/${view}` : encodeURIComponent(test).replaceAll('%40', '@');
  return `#${path}${query === '' ? '' : `?${query}`}`;
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // Typed by hand.
  }
}
