import type { ComponentChildren } from 'preact';

export type Facts = [name: string, ...values: ComponentChildren[]][];

/** Names and their values; a name without a value is left out. */
export function FactList({ facts }: { facts: Facts }) {
  return (
    <dl class="facts">
      {facts
        .filter(([, ...values]) => values.length > 0)
        .map(([name, ...values]) => (
          <div key={name}>
            <dt>{name}</dt>
            {values.map((value, index) => (
              <dd key={index}>{value}</dd>
            ))}
          </div>
        ))}
    </dl>
  );
}
