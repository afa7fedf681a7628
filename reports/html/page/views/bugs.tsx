import { count } from '../../../text.ts';
import type { Bug } from '../model.ts';
import { useReport } from '../report.ts';
import { formatRoute } from '../route.ts';
import { StatusIcon } from '../status.tsx';

/** So many tests of a bug are named before the rest is folded away. */
const SHOWN = 6;

/** What ended badly, the same bug once. */
export function Bugs({ title, bugs }: { title: string; bugs: readonly Bug[] }) {
  if (bugs.length === 0) return null;
  return (
    <section class="bugs">
      <h2>
        {title} <span class="note">the same bug once, the gravest first</span>
      </h2>
      <ol>
        {bugs.map((bug) => (
          <li key={bug.title}>
            <h3>{bug.title}</h3>
            <BugTests bug={bug} />
          </li>
        ))}
      </ol>
    </section>
  );
}

function BugTests({ bug: { rows } }: { bug: Bug }) {
  const { names } = useReport();
  const links = rows.map(({ test, run }) => (
    <li key={`${run}/${test.id}`}>
      <a
        href={formatRoute({
          view: 'tests',
          test: test.id,
          params: { run: names.length > 1 ? String(run) : '' },
        })}
      >
        <StatusIcon status={test.status} label /> {test.id}
      </a>
      <span class="note">
        {names.length > 1 ? `${names[run]} · ` : ''}
        {test.title}
      </span>
    </li>
  ));
  return (
    <>
      <ul>{links.slice(0, SHOWN)}</ul>
      {links.length > SHOWN && (
        <details>
          <summary>{count(links.length - SHOWN, 'more test')}</summary>
          <ul>{links.slice(SHOWN)}</ul>
        </details>
      )}
    </>
  );
}
