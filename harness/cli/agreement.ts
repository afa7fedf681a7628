import { createInterface } from 'node:readline/promises';
import { UsageError } from '../target/errors.ts';

/**
 * Shows what a run is going to do to this machine and lets the user agree to it: on a terminal by an
 * answer, elsewhere only by `--yes`.
 * @throws UsageError if the user does not agree
 */
export async function agreeTo(plan: string, yes: boolean): Promise<void> {
  process.stderr.write(`${plan}\n`);
  if (yes) return;
  if (!process.stdin.isTTY)
    throw new UsageError('nobody is there to agree to this', 'give --yes to agree beforehand');
  const interrupted = new AbortController();
  const stop = (): void => interrupted.abort();
  process.once('SIGINT', stop);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question('Go on? [y/N] ', { signal: interrupted.signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw declined();
  } catch (error) {
    throw interrupted.signal.aborted ? declined() : error;
  } finally {
    process.off('SIGINT', stop);
    terminal.close();
  }
}

function declined(): UsageError {
  return new UsageError('nothing was touched', 'answer `y` to go on');
}
