import { bringUp } from './machine.ts';
import { neighbours, restoring, signals } from './manners.ts';
import { report } from './playing.ts';
import { kills, powerCuts } from './rounds.ts';
import { memoryBound, shortages } from './shortages.ts';
import { unprivileged, whole } from './users.ts';

/** Plays a scenario on the machine and leaves its outcome: see `rig.ts`. */

const scenarios: Record<string, (args: string[]) => Promise<void>> = {
  whole,
  unprivileged,
  signals,
  neighbours,
  restoring,
  kills: ([rounds]) => kills(Number(rounds)),
  'power-cuts': ([rounds]) => powerCuts(Number(rounds)),
  shortages,
  'memory-bound': memoryBound,
};

bringUp();
const [scenario, ...args] = process.argv.slice(2);
const play = scenarios[scenario!];
if (!play) throw new Error(`no scenario ${scenario}`);
await play(args);
report();
