import type { RefObject } from 'preact';
import type { BenchResult } from '../../../bench-results.ts';
import { latency } from '../../../bench/table.ts';
import { count } from '../../../text.ts';
import { intervalText, parameterText, type BenchRow } from '../bench-model.ts';
import { useReport } from '../report.ts';
import { Distributions } from './distributions.tsx';
import { Rounds } from './rounds.tsx';

interface Props {
  row: BenchRow;
  /** The same benchmark in every run that has it. */
  same: readonly BenchRow[];
  names: readonly string[];
  onClose: () => void;
  panel: RefObject<HTMLElement | null>;
}

/** One benchmark: how its samples are distributed, round by round, and what is odd about them. */
export function BenchDossier({ row: { bench, run }, same, names, onClose, panel }: Props) {
  const { data } = useReport();
  return (
    <article class="dossier" ref={panel} tabIndex={-1} aria-label={`Benchmark ${bench.id}`}>
      <header>
        <h2>{bench.id}</h2>
        <button type="button" class="close" aria-label="Close" onClick={onClose}>
          ✕
        </button>
      </header>
      <p class="promise">{bench.title}</p>
      {bench.detail !== '' && <p class="early">{bench.detail}</p>}
      <ul class="warnings">
        {bench.warnings.map(({ text, next }) => (
          <li key={text}>
            {text} <span class="note">{next}</span>
          </li>
        ))}
      </ul>
      <section>
        <h3>
          Distribution <span class="note">share of the samples over their latency</span>
        </h3>
        <Distributions same={same} names={names} benches={data.benches} />
      </section>
      <section>
        <h3>
          Rounds <span class="note">median and p90 of each</span>
        </h3>
        <Rounds same={same} names={names} />
      </section>
      <section>
        <h3>Figures {names.length > 1 && <span class="note">{names[run]}</span>}</h3>
        <Figures bench={bench} />
      </section>
    </article>
  );
}

function Figures({ bench }: { bench: BenchResult }) {
  const { summary, fidelity, outliers, units } = bench;
  const facts: [string, string][] = [
    ['samples', count(bench.samples, 'sample')],
    ...(summary
      ? (
          [
            ['min', latency(summary.min)],
            ['p50', `${latency(summary.p50)}  (${intervalText(summary.intervals.p50)})`],
            ['p90', `${latency(summary.p90)}  (${intervalText(summary.intervals.p90)})`],
            ['p99', `${latency(summary.p99)}  (${intervalText(summary.intervals.p99)})`],
            ['p99.9', latency(summary.p999)],
            ['max', latency(summary.max)],
            ['MAD', latency(summary.mad)],
          ] as [string, string][]
        ).concat(
          Object.entries(units).map(([unit, n]) => [
            `of ${n} ${unit}`,
            `${latency(summary.p50 / n)} each`,
          ]),
        )
      : []),
    ...(bench.outlierCount > 0
      ? [
          [
            'outliers',
            `${bench.outlierCount}, the farthest ${outliers.map(({ ns }) => latency(ns)).join(', ')}`,
          ] as [string, string],
        ]
      : []),
    ...(fidelity
      ? [
          [
            'in C',
            `${latency(fidelity.p50)}, ratio ${fidelity.ratio.toFixed(3)}: ${fidelity.agrees ? 'agrees' : 'differs'}`,
          ] as [string, string],
        ]
      : []),
    ...Object.entries(bench.parameters).map(([name, value]): [string, string] => [
      name,
      parameterText(name, value),
    ]),
    ['file', bench.file],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
