import type { RefObject } from 'preact';
import { useEffect } from 'preact/hooks';
import type { TestResult } from '../../../results.ts';
import type { Row } from '../model.ts';
import { useReport } from '../report.ts';
import { formatRoute } from '../route.ts';
import { StatusBadge, StatusIcon } from '../status.tsx';
import { DossierBody } from './dossier-body.tsx';

interface Props {
  row: Row;
  onClose: () => void;
  panel: RefObject<HTMLElement | null>;
}

/** Everything about one test in one run, beside the table. */
export function Dossier({ row: { test, run }, onClose, panel }: Props) {
  useEffect(() => panel.current?.scrollTo(0, 0), [test.id, run]);
  return (
    <article class="dossier" ref={panel} tabIndex={-1} aria-label={`Dossier of ${test.id}`}>
      <header>
        <StatusBadge status={test.status} />
        <h2>{test.id}</h2>
        <button type="button" class="close" aria-label="Close" onClick={onClose}>
          ✕
        </button>
      </header>
      <OtherRuns test={test} run={run} />
      <DossierBody test={test} />
    </article>
  );
}

/** How the test ended in each run of the report; a click leads to its dossier there. */
function OtherRuns({ test, run }: Row) {
  const { rows, names, route } = useReport();
  if (names.length === 1) return null;
  const same = rows.filter((row) => row.test.id === test.id);
  return (
    <nav class="other-runs" aria-label="The same test in other runs">
      {same.map((row) => (
        <a
          key={row.run}
          href={linkTo(row, route.params)}
          aria-current={row.run === run ? 'true' : undefined}
        >
          <StatusIcon status={row.test.status} label /> {names[row.run]}
        </a>
      ))}
    </nav>
  );
}

function linkTo({ test, run }: { test: TestResult; run: number }, params: object): string {
  return formatRoute({
    view: 'tests',
    test: test.id,
    params: { ...params, run: String(run) },
  });
}
