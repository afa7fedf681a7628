import type { Environment } from '../../protocol/events.ts';
import { UsageError } from '../errors.ts';
import { localFacts } from './facts.ts';

/** Facts that are those of one machine and one device only, all taken together. */
const IDENTITY = ['host', 'devices', 'slots'];

/** What a machine is called before the network gives it a name. */
const UNNAMED = ['localhost', '(none)'];

/**
 * Whether the addresses with which a run was begun still are those of its devices: a card more, and
 * after the next boot they may be another's.
 * @param begun what the run said of its machine when it began
 * @throws UsageError that tells both
 */
export function checkSameMachine(begun: Environment, sys?: string): void {
  const devices = String(begun['devices'] ?? '').split(', ');
  const now = localFacts(
    devices.map((text) => text.split(' ', 1)[0]!),
    sys,
  );
  const changed = IDENTITY.filter((name) => differ(name, begun[name], now[name]!));
  if (changed.length === 0) return;
  const differences = changed.map(
    (name) => `    ${name} then: ${String(begun[name])}\n    ${name} now: ${now[name]}`,
  );
  throw new UsageError(
    `the run was begun on another machine or with other devices:\n${differences.join('\n')}`,
    'go on where its devices are in their places, or begin a new run: `vfio-conformance devices` prints what is here',
  );
}

/** A run of an earlier version did not tell all facts, and a machine may boot before it has its name. */
function differ(name: string, then: Environment[string] | undefined, now: string): boolean {
  if (then === undefined || then === now) return false;
  if (name !== 'host') return true;
  const [one, other] = [String(then), now].map((host) => host.split('.', 1)[0]!);
  return one !== other && !UNNAMED.includes(one!) && !UNNAMED.includes(other!);
}
