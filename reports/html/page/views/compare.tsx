import { useMemo } from 'preact/hooks';
import { CHANGES, compareRuns, type Change, type ChangeKind } from '../../../compare.ts';
import { count } from '../../../text.ts';
import { useReport } from '../report.ts';
import { formatRoute } from '../route.ts';
import { StatusIcon } from '../status.tsx';
import { groupBy } from '../group-by.ts';

/** More changes of one kind are folded: a suite that only one run has hides what matters. */
const MOST_OPEN = 100;

/** What is otherwise in one run than in another; any two runs of the report can be chosen. */
export function CompareView() {
  const { data, route } = useReport();
  const a = indexOf(route.params['a'], 0);
  const b = indexOf(route.params['b'], data.runs.length - 1);
  const comparison = useMemo(
    () => compareRuns(data.runs[a]!.results, data.runs[b]!.results),
    [data, a, b],
  );
  const kinds = (Object.keys(CHANGES) as ChangeKind[]).map((kind) => ({
    kind,
    changes: comparison.changes.filter((change) => change.kind === kind),
  }));
  return (
    <>
      <div class="toolbar">
        <RunChoice name="a" value={a} /> <span aria-hidden="true">→</span>{' '}
        <RunChoice name="b" value={b} />
        <span class="count" role="status">
          {comparison.changes.length === 0
            ? 'no difference'
            : count(comparison.changes.length, 'difference')}{' '}
          in {count(comparison.common, 'common test')}
        </span>
      </div>
      <div class="changes">
        {kinds
          .filter(({ changes }) => changes.length > 0)
          .map(({ kind, changes }) => (
            <details key={kind} open={changes.length <= MOST_OPEN}>
              <summary>
                {CHANGES[kind]} <span class="note">{changes.length}</span>
              </summary>
              <ul>
                {alike(changes).map((group) => (
                  <ChangeItem key={group[0]!.id} changes={group} run={group[0]!.after ? b : a} />
                ))}
              </ul>
            </details>
          ))}
      </div>
    </>
  );

  /** A run as the address names it; what it does not name is the first or the last. */
  function indexOf(text: string | undefined, fallback: number): number {
    const index = Number(text ?? '');
    return text !== undefined && text !== '' && data.runs[index] ? index : fallback;
  }
}

function RunChoice({ name, value }: { name: 'a' | 'b'; value: number }) {
  const { names, choose } = useReport();
  return (
    <label>
      {name.toUpperCase()}{' '}
      <select
        value={String(value)}
        onChange={(event) => choose({ [name]: event.currentTarget.value })}
      >
        {names.map((label, index) => (
          <option key={index} value={String(index)}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Tests in which the same messages are other come together. */
function alike(changes: readonly Change[]): Change[][] {
  return [
    ...groupBy(changes, ({ id, messages }) => (messages ? JSON.stringify(messages) : id)),
  ].map(([, group]) => group);
}

function ChangeItem({ changes, run }: { changes: readonly Change[]; run: number }) {
  const [{ detail, messages } = { detail: '' }] = changes;
  return (
    <li>
      {changes.map(({ id, before, after }) => (
        <p key={id}>
          <span class="states">
            <State status={before} /> → <State status={after} />
          </span>{' '}
          <a href={formatRoute({ view: 'tests', test: id, params: { run: String(run) } })}>{id}</a>
          {!messages && <span class="note"> {detail}</span>}
        </p>
      ))}
      {messages && (
        <ul class="diff">
          {messages.gone.map((line) => (
            <li key={line} class="gone">
              {line}
            </li>
          ))}
          {messages.new.map((line) => (
            <li key={line} class="new">
              {line}
            </li>
          ))}
        </ul>
      )}
    </li>
  );
}

function State({ status }: { status: Change['before'] }) {
  return status ? <StatusIcon status={status} label /> : <span class="note">none</span>;
}
