import { useEffect, useMemo } from 'preact/hooks';
import type { ReportData } from '../data.ts';
import { Header } from './header.tsx';
import { allRows, runNames } from './model.ts';
import { Printing, usePrinting } from './printing.ts';
import { ReportContext } from './report.ts';
import type { View } from './route.ts';
import { useRoute } from './use-route.ts';
import { BenchmarksView } from './views/benchmarks.tsx';
import { CompareView } from './views/compare.tsx';
import { CoverageView } from './views/coverage.tsx';
import { MatrixView } from './views/matrix.tsx';
import { OverviewView } from './views/overview.tsx';
import { TestsView } from './views/tests.tsx';

const COMPONENTS = {
  overview: OverviewView,
  tests: TestsView,
  matrix: MatrixView,
  compare: CompareView,
  coverage: CoverageView,
  benchmarks: BenchmarksView,
} as const;

/** Views that this report has something to show in. */
function viewsOf({ runs, benches }: ReportData): View[] {
  return [
    ...(runs.length > 0 ? (['overview', 'tests', 'coverage'] as const) : []),
    ...(runs.length > 1 ? (['matrix', 'compare'] as const) : []),
    ...(benches.length > 0 ? (['benchmarks'] as const) : []),
  ];
}

/** The whole page. */
export function App({ data }: { data: ReportData }) {
  const navigation = useRoute(data.start);
  const printing = usePrinting();
  const rows = useMemo(() => allRows(data), [data]);
  const names = useMemo(() => runNames(data.runs.map(({ results }) => results.run)), [data]);
  const views = viewsOf(data);
  const view = views.includes(navigation.route.view)
    ? navigation.route.view
    : (views[0] ?? 'overview');
  const Component = COMPONENTS[view];
  useEffect(() => {
    document.title = [navigation.route.test ?? names.at(-1), 'vfio-conformance']
      .filter(Boolean)
      .join(' · ');
  }, [navigation.route.test, names]);
  return (
    <ReportContext.Provider value={{ data, rows, names, ...navigation }}>
      <Printing.Provider value={printing}>
        <Header views={views} view={view} />
        <main class={`view view-${view}`}>
          <Component />
        </main>
      </Printing.Provider>
    </ReportContext.Provider>
  );
}
