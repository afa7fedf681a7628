import type { RefObject } from 'preact';
import type { BenchRow } from '../bench-model.ts';
import { useReport } from '../report.ts';
import { BenchFigures } from './bench-figures.tsx';
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
        <BenchFigures bench={bench} />
      </section>
    </article>
  );
}
