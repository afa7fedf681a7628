import { count, duration } from '../../../text.ts';
import type { FoundRun, RunResults, TestResult } from '../../../results.ts';
import { FactList, type Facts } from '../fact-list.tsx';
import { GRAVITY } from '../model.ts';
import { formatRoute } from '../route.ts';
import { StatusBar, StatusIcon, summaryOf } from '../status.tsx';
import { groupBy } from '../group-by.ts';

interface Props {
  run: FoundRun;
  index: number;
  /** Name of the run, where there are several. */
  title: string | undefined;
}

/** A run suite by suite, what it did not test, what took its time, and where it ran. */
export function RunDetails({ run: { results }, index, title }: Props) {
  const params = title === undefined ? {} : { runs: String(index) };
  return (
    <section class="run-details">
      {title !== undefined && <h2>{title}</h2>}
      <div class="columns">
        <Suites tests={results.tests} params={params} />
        <Skips tests={results.tests} />
        <Slowest tests={results.tests} index={title === undefined ? '' : String(index)} />
        <Environment results={results} />
        <Sessions results={results} />
      </div>
    </section>
  );
}

function Suites({ tests, params }: { tests: readonly TestResult[]; params: object }) {
  const suites = [...groupBy(tests, ({ suite }) => suite)];
  return (
    <section>
      <h3>Suites</h3>
      <table class="plain">
        <thead>
          <tr>
            <th>Suite</th>
            <th class="n">Tests</th>
            <th>How they ended</th>
            <th class="n">Time</th>
          </tr>
        </thead>
        <tbody>
          {suites.map(([suite, found]) => (
            <tr key={suite}>
              <td>
                <a href={formatRoute({ view: 'tests', test: null, params: { ...params, suite } })}>
                  {suite}
                </a>
              </td>
              <td class="n">{found.length}</td>
              <td class="bar">
                <StatusBar summary={summaryOf(found)} />
                <Remarkable tests={found} />
              </td>
              <td class="n">{duration(found.reduce((sum, test) => sum + test.durationMs, 0))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Counts of all that is not a pass. */
function Remarkable({ tests }: { tests: readonly TestResult[] }) {
  const summary = summaryOf(tests);
  const others = GRAVITY.filter((status) => status !== 'pass' && summary[status]);
  return (
    <span class="remarkable">
      {others.map((status) => (
        <span key={status}>
          <StatusIcon status={status} /> {summary[status]} {status}
        </span>
      ))}
    </span>
  );
}

function Skips({ tests }: { tests: readonly TestResult[] }) {
  const skipped = tests.filter(({ status }) => status === 'skip');
  if (skipped.length === 0) return null;
  const reasons = [...groupBy(skipped, ({ skip }) => skip.join('; '))].sort(
    ([, a], [, b]) => b.length - a.length,
  );
  return (
    <section>
      <h3>Not tested, because</h3>
      <ul class="reasons">
        {reasons.map(([reason, found]) => (
          <li key={reason}>
            <details>
              <summary>
                <b>{found.length}</b> {reason}
              </summary>
              <ul>
                {found.map(({ id }) => (
                  <li key={id}>
                    <a href={formatRoute({ view: 'tests', test: id, params: {} })}>{id}</a>
                  </li>
                ))}
              </ul>
            </details>
          </li>
        ))}
      </ul>
    </section>
  );
}

const SLOWEST = 10;

function Slowest({ tests, index }: { tests: readonly TestResult[]; index: string }) {
  const slowest = tests.toSorted((a, b) => b.durationMs - a.durationMs).slice(0, SLOWEST);
  return (
    <section>
      <h3>Slowest</h3>
      <table class="plain">
        <tbody>
          {slowest.map(({ id, durationMs }) => (
            <tr key={id}>
              <td>
                <a href={formatRoute({ view: 'tests', test: id, params: { run: index } })}>{id}</a>
              </td>
              <td class="n">{duration(durationMs)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Environment({ results: { run } }: { results: RunResults }) {
  const facts: Facts = [
    ['command', run.command.join(' ')],
    ['vfio-conformance', run.version],
    ...Object.entries(run.environment).map(([name, value]): Facts[number] => [
      name,
      Array.isArray(value) ? value.join(', ') : String(value),
    ]),
    ['timeout scale', String(run.timeoutScale)],
    ...(run.seed === null ? [] : [['order', `--shuffle ${run.seed}`] as Facts[number]]),
    ['expectations', run.expectations.join(', ') || 'none'],
  ];
  return (
    <section class="environment">
      <h3>Environment</h3>
      <FactList facts={facts} />
    </section>
  );
}

function Sessions({ results: { run } }: { results: RunResults }) {
  return (
    <section>
      <h3>
        Boots <span class="note">{count(run.sessions.length, 'session')}</span>
      </h3>
      <table class="plain">
        <tbody>
          {run.sessions.map(({ started, bootMs, end, detail, during }, index) => (
            <tr key={index}>
              <td>{started.slice(11, 19)}</td>
              <td class="n">{bootMs === null ? 'never up' : `up in ${duration(bootMs)}`}</td>
              <td>
                {end ?? 'no end'}
                {during !== null && ` in ${during}`}
                <span class="note"> {detail}</span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
