import { useEffect, useMemo } from 'preact/hooks';
import type { ReportData } from '../data.ts';
import { Header } from './header.tsx';
import { allRows, runNames } from './model.ts';
import { Printing, usePrinting } from './printing.ts';
import { ReportContext } from './report.ts';
import type { View } from './route.ts';
import { useRoute } from './use-route.ts';
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
} as const;

/** Views that this report has something to show in. */
function viewsOf({ runs }: ReportData): View[] {
  return [
    'overview',
    'tests',
    ...(runs.length > 1 ? (['matrix', 'compare'] as const) : []),
    'coverage',
  ];
}

/** The whole page. */
export function App({ data }: { data: ReportData }) {
  const navigation = useRoute(data.start);
  const printing = usePrinting();
  const rows = useMemo(() => allRows(data), [data]);
  const names = useMemo(() => runNames(data.runs), [data]);
  const views = viewsOf(data);
  const view = views.includes(navigation.route.view) ? navigation.route.view : 'overview';
  const Component = COMPONENTS[view];
  useEffect(() => {
    document.title = `${navigation.route.test ?? names.at(-1)} · vfio-conformance`;
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
