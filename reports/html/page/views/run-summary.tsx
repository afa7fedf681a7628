import { earlyEnd } from '../../../explain.ts';
import { count, duration } from '../../../text.ts';
import type { FoundRun } from '../../../results.ts';
import { GRAVITY, moment } from '../model.ts';
import { useReport } from '../report.ts';
import { formatRoute } from '../route.ts';
import { STATUS_WORDS, StatusBar, StatusIcon } from '../status.tsx';

/** A run in a glance: how many tests ended in which way, each number a link to them. */
export function RunSummary({
  run: { directory, results },
  index,
}: {
  run: FoundRun;
  index: number;
}) {
  const { names } = useReport();
  const { run, tests, summary } = results;
  const early = earlyEnd(results);
  const runs = names.length > 1 ? String(index) : '';
  return (
    <section class="run-summary" aria-label={names[index]}>
      <h1>
        Linux {run.kernel} <span class="machine">on {run.machine}</span>
      </h1>
      <p class="verdict-line">
        {count(tests.length, 'test')} in {duration(run.durationMs)}, {moment(run.started)} UTC,{' '}
        {count(run.sessions.length, 'boot')}, exit code {run.exitCode} · <code>{directory}</code>
      </p>
      {early && <p class="early">{early}</p>}
      <StatusBar summary={summary} />
      <ul class="counts">
        {GRAVITY.toReversed()
          .filter((status) => summary[status] > 0)
          .map((status) => (
            <li key={status}>
              <a href={formatRoute({ view: 'tests', test: null, params: { status, runs } })}>
                <StatusIcon status={status} />
                <b>{summary[status]}</b> {status} <span class="note">{STATUS_WORDS[status]}</span>
              </a>
            </li>
          ))}
      </ul>
    </section>
  );
}
