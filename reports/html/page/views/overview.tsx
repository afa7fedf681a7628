import { useContext } from 'preact/hooks';
import { bugsOf, type Bug } from '../model.ts';
import { Printing } from '../printing.ts';
import { useReport } from '../report.ts';
import { StatusBadge } from '../status.tsx';
import { Bugs } from './bugs.tsx';
import { DossierBody } from './dossier-body.tsx';
import { RunDetails } from './run-details.tsx';
import { RunSummary } from './run-summary.tsx';

/** What came of the runs, what has to be looked at, and where they ran. On paper also the dossiers. */
export function OverviewView() {
  const { data, rows, names } = useReport();
  const printing = useContext(Printing);
  const bugs = bugsOf(rows);
  return (
    <>
      {data.runs.map((run, index) => (
        <RunSummary key={run.directory} run={run} index={index} />
      ))}
      <Bugs title="Failures" bugs={bugs.filter((bug) => !isKnown(bug))} />
      <Bugs title="Known failures" bugs={bugs.filter(isKnown)} />
      {data.runs.map((run, index) => (
        <RunDetails
          key={run.directory}
          run={run}
          index={index}
          title={names.length > 1 ? names[index] : undefined}
        />
      ))}
      {printing &&
        bugs.flatMap(({ rows: found }) =>
          found.map(({ test, run }) => (
            <article key={`${run}/${test.id}`} class="dossier printed">
              <header>
                <StatusBadge status={test.status} />
                <h2>{test.id}</h2>
                {names.length > 1 && <span>{names[run]}</span>}
              </header>
              <DossierBody test={test} />
            </article>
          )),
        )}
    </>
  );
}

/** Whether an expectation file announced every one of them. */
function isKnown({ rows }: Bug): boolean {
  return rows.every(({ test }) => test.status === 'xfail');
}
