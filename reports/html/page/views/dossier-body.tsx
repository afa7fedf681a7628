import type { ComponentChildren } from 'preact';
import { failureTitle, splatsOfTest } from '../../../failure-title.ts';
import type { TestResult } from '../../../results.ts';
import { count, duration } from '../../../text.ts';
import { CopyButton, CopyText } from '../copy-text.tsx';
import { FactList, type Facts } from '../fact-list.tsx';
import { formatRoute } from '../route.ts';

/** What is known about a test's result, what matters most first. */
export function DossierBody({ test }: { test: TestResult }) {
  const { failure } = test;
  const title = failureTitle(test);
  return (
    <>
      <p class="promise">{test.title}</p>
      {failure && (
        <section class={`verdict s-${test.status}`}>
          <h3>{title}</h3>
          {failure.message !== title && <p class="message">{failure.message}</p>}
          <Answers expected={failure.expected} observed={failure.observed} />
          {failure.hints.map((hint) => (
            <p key={hint} class="hint">
              {hint}
            </p>
          ))}
        </section>
      )}
      {test.expectation && (
        <Section title="Expected to end so">
          <p>
            {test.expectation.reason} <span class="from">({test.expectation.from})</span>
          </p>
        </Section>
      )}
      {test.skip.length > 0 && (
        <Section title="Skipped, because">
          <ul>
            {test.skip.map((reason) => (
              <li key={reason}>{reason}</li>
            ))}
          </ul>
        </Section>
      )}
      <Section title="Run it again">
        <CopyText text={test.rerun} />
      </Section>
      {failure && failure.calls.length > 0 && (
        <Section title="System calls" note={`${count(failure.calls.length, 'call')}, oldest first`}>
          <Lines lines={failure.calls} mark={isRefused} class="refused" />
        </Section>
      )}
      {test.kernelLog.length > 0 && (
        <Section title="Kernel log" note={count(test.kernelLog.length, 'line')}>
          <KernelLog test={test} />
        </Section>
      )}
      {failure?.stack && (
        <Section title={failure.kind === 'death' ? 'Evidence' : 'Stack'}>
          <Lines lines={failure.stack.split('\n')} />
        </Section>
      )}
      {failure?.reproducer && (
        <Section
          title="Reproducer"
          note="a C program of its own: gcc -std=gnu11 -pthread -o reproducer reproducer.c"
          action={<CopyButton text={failure.reproducer} />}
        >
          <pre class="program" tabIndex={0}>
            {failure.reproducer}
          </pre>
        </Section>
      )}
      <TestFacts test={test} />
    </>
  );
}

function Answers({ expected, observed }: { expected?: string; observed?: string }) {
  if (expected === undefined && observed === undefined) return null;
  return (
    <dl class="answers">
      <div>
        <dt>Expected</dt>
        <dd>
          <pre>{expected ?? '—'}</pre>
        </dd>
      </div>
      <div>
        <dt>Observed</dt>
        <dd>
          <pre>{observed ?? '—'}</pre>
        </dd>
      </div>
    </dl>
  );
}

function TestFacts({ test }: { test: TestResult }) {
  const kernels = [
    ...(test.since ? [`since ${test.since}`] : []),
    ...(test.until ? [`until ${test.until}`] : []),
  ];
  const covers = test.covers.map((item) => (
    <a key={item} href={formatRoute({ view: 'tests', test: null, params: { item } })}>
      {item}
    </a>
  ));
  const facts: Facts = [
    ['Covers', ...covers],
    ['Source', ...test.source],
    ['Needs', ...test.needs],
    ['Kernels', ...kernels],
    ['Fixes', ...test.fixes],
    ['Peer checks', ...test.peer],
    ['File', test.file],
    ['Time', duration(test.durationMs)],
    ['Begun', ...(test.started === null ? [] : [`${test.started}, session ${test.session}`])],
  ];
  return (
    <Section title="The test">
      <FactList facts={facts} />
    </Section>
  );
}

interface SectionProps {
  title: string;
  note?: string;
  action?: ComponentChildren;
  children: ComponentChildren;
}

function Section({ title, note, action, children }: SectionProps) {
  return (
    <section>
      <h3>
        {title} {note && <span class="note">{note}</span>} {action}
      </h3>
      {children}
    </section>
  );
}

/** The kernel's lines; those of a splat that explains the failure stand out. */
function KernelLog({ test }: { test: TestResult }) {
  const splat = new Set(splatsOfTest(test).flatMap((block) => block.lines));
  return <Lines lines={test.kernelLog} mark={(line) => splat.has(line)} class="splat" />;
}

interface LinesProps {
  lines: readonly string[];
  /** Lines that get the class. */
  mark?: (line: string) => boolean;
  class?: string;
}

function Lines({ lines, mark, class: name }: LinesProps) {
  return (
    <ol class="lines" tabIndex={0}>
      {lines.map((line, index) => (
        <li key={index} class={mark?.(line) ? name : undefined}>
          {line}
        </li>
      ))}
    </ol>
  );
}

function isRefused(call: string): boolean {
  return /= -1 E[A-Z0-9]+/.test(call);
}
