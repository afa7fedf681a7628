import { moment } from './model.ts';
import { useReport } from './report.ts';
import { formatRoute, type View } from './route.ts';

const TITLES: Record<View, string> = {
  overview: 'Overview',
  tests: 'Tests',
  matrix: 'Matrix',
  compare: 'Compare',
  coverage: 'uAPI coverage',
};

/** What was tested, and the ways to the views. */
export function Header({ views, view }: { views: readonly View[]; view: View }) {
  const { data } = useReport();
  const { run } = data.runs[0]!.results;
  const subject =
    data.runs.length === 1
      ? `Linux ${run.kernel} on ${run.machine}, ${moment(run.started)} UTC`
      : `${data.runs.length} runs`;
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
