import { dot, line, link, tip, pointer } from '@observablehq/plot';
import { useMemo } from 'preact/hooks';
import { latency } from '../../../bench/table.ts';
import { parameterText, type BenchRow } from '../bench-model.ts';
import {
  ALL,
  choicesOf,
  costFamilies,
  costPoints,
  firstChoices,
  UNIT_WORDS,
  unitsOf,
  type CostFamily,
  type CostPoint,
  type CostUnit,
} from '../cost.ts';
import { PlotFigure, SERIES_COLORS } from '../plot-figure.tsx';
import { useReport } from '../report.ts';
import { groupBy } from '../group-by.ts';

interface Props {
  rows: readonly BenchRow[];
  names: readonly string[];
}

/** How cost grows: a plot with logarithmic axes for each operation that was measured at several sizes. */
export function CostPlots({ rows, names }: Props) {
  const { route, choose } = useReport();
  const families = useMemo(() => costFamilies(rows), [rows]);
  const choices = useMemo(
    () => [...groupBy(families.flatMap(choicesOf), ([name]) => name)],
    [families],
  );
  const chosen = useMemo(() => {
    const first = firstChoices(families);
    return Object.fromEntries(
      choices.map(([name]) => [name, route.params[`p-${name}`] ?? first[name] ?? ALL]),
    );
  }, [families, choices, route.params]);
  const units = [...new Set(families.flatMap(unitsOf))];
  const unit = units.find((one) => one === route.params['unit']) ?? 'call';
  if (families.length === 0)
    return <p class="empty">Nothing was measured at more than one size.</p>;
  return (
    <div class="plots">
      <div class="toolbar">
        <Choice
          name="cost of a"
          value={unit}
          values={units}
          textOf={(one) => UNIT_WORDS[one as CostUnit]}
          onChoose={(value) => choose({ unit: value })}
        />
        {choices.map(([name, found]) => (
          <Choice
            key={name}
            name={name}
            value={chosen[name] ?? ALL}
            values={[ALL, ...new Set(found.flatMap(([, values]) => values))]}
            onChoose={(value) => choose({ [`p-${name}`]: value })}
          />
        ))}
      </div>
      {families.map((family) => (
        <CostPlot
          key={`${family.name} ${family.axis}`}
          family={family}
          unit={unit}
          names={names}
          chosen={chosen}
        />
      ))}
    </div>
  );
}

interface ChoiceProps {
  name: string;
  value: string;
  values: readonly string[];
  textOf?: (value: string) => string;
  onChoose: (value: string) => void;
}

function Choice({ name, value, values, textOf = String, onChoose }: ChoiceProps) {
  return (
    <label>
      {name}{' '}
      <select value={value} onChange={(event) => onChoose(event.currentTarget.value)}>
        {values.map((one) => (
          <option key={one} value={one}>
            {textOf(one)}
          </option>
        ))}
      </select>
    </label>
  );
}

interface CostPlotProps {
  family: CostFamily;
  unit: CostUnit;
  names: readonly string[];
  chosen: Readonly<Record<string, string>>;
}

function CostPlot({ family, unit, names, chosen }: CostPlotProps) {
  const key = JSON.stringify(chosen);
  const options = useMemo(() => {
    const points = costPoints(family, chosen, unit, names);
    const series = [...new Set(points.map((point) => point.series))];
    return {
      width: 640,
      height: 380,
      marginLeft: 64,
      x: {
        // No logarithm of "no mapping yet".
        type: points.some(({ x }) => x === 0) ? ('symlog' as const) : ('log' as const),
        base: family.axis === 'size' ? 2 : 10,
        label: family.axis,
        tickFormat: (value: number) => parameterText(family.axis, value),
        ticks: 8,
      },
      y: {
        type: 'log' as const,
        label: `median latency a ${UNIT_WORDS[unit]}`,
        tickFormat: latency,
        grid: true,
      },
      color: { domain: series, range: SERIES_COLORS },
      symbol: { domain: series, legend: series.length > 1 },
      marks: [
        link(points, { x1: 'x', x2: 'x', y1: 'low', y2: 'high', stroke: 'series', strokeWidth: 2 }),
        line(points, { x: 'x', y: 'y', z: 'series', stroke: 'series', sort: 'x' }),
        dot(points, { x: 'x', y: 'y', fill: 'series', symbol: 'series' }),
        tip(points, pointer({ x: 'x', y: 'y', title: tipOf })),
      ],
    };
  }, [family, key, unit, names]);
  return (
    <section class="plot-section half">
      <h2>
        {family.name} <span class="note">over {family.axis}</span>
      </h2>
      <PlotFigure label={`Cost of ${family.name} over ${family.axis}`} options={options} />
    </section>
  );
}

function tipOf({ id, y, low, high }: CostPoint): string {
  return `${id}\n${latency(y)} (${latency(low)} – ${latency(high)})`;
}
