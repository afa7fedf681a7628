import { moment } from './model.ts';
import { useReport } from './report.ts';
import { formatRoute, type View } from './route.ts';

const TITLES: Record<View, string> = {
  overview: 'Overview',
  tests: 'Tests',
  matrix: 'Matrix',
  compare: 'Compare',
  coverage: 'uAPI coverage',
  benchmarks: 'Benchmarks',
};

/** What was tested, and the ways to the views. */
export function Header({ views, view }: { views: readonly View[]; view: View }) {
  const { data } = useReport();
  const all = [...data.runs, ...data.benches].map(({ results }) => results.run);
  const [only, ...more] = all;
  const subject =
    only && more.length === 0
      ? `Linux ${only.kernel} on ${only.machine}, ${moment(only.started)} UTC`
      : `${all.length} runs`;
  return (
    <header class="top">
      <p class="brand">
        <strong>vfio-conformance</strong> <span>{subject}</span>
      </p>
      <nav aria-label="Views">
        {views.map((name) => (
          <a
            key={name}
            href={formatRoute({ view: name, test: null, params: {} })}
            aria-current={name === view ? 'page' : undefined}
          >
            {TITLES[name]}
          </a>
        ))}
      </nav>
    </header>
  );
}
