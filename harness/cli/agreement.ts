import { createInterface } from 'node:readline/promises';
import { UsageError } from '../target/errors.ts';
import { interruption } from './interruption.ts';

/** Where a person is asked. */
interface Prompt {
  input: NodeJS.ReadableStream & { isTTY?: boolean };
  output: NodeJS.WritableStream;
}

/**
 * Shows what a run is going to do to this machine and lets the user agree to it: on a terminal by an
 * answer, elsewhere only by `--yes`.
 * @throws UsageError if the user does not agree
 */
export async function agreeTo(
  plan: string,
  yes: boolean,
  { input, output }: Prompt = { input: process.stdin, output: process.stderr },
): Promise<void> {
  output.write(`${plan}\n`);
  if (yes) return;
  if (!input.isTTY)
    throw new UsageError('nobody is there to agree to this', 'give --yes to agree beforehand');
  if (!/^y(es)?$/i.test(await answerOn({ input, output })))
    throw new UsageError('nothing was touched', 'answer `y` to go on');
}

/** What the user answers; nothing if that is Ctrl-C or Ctrl-D, or if a signal or a hang-up comes first. */
async function answerOn(prompt: Prompt): Promise<string> {
  const { signal, release } = interruption(() => undefined);
  const terminal = createInterface(prompt);
  try {
    return await new Promise<string>((resolve) => {
      const none = (): void => resolve('');
      terminal.once('close', none);
      terminal.question('Go on? [y/N] ', { signal }).then((text) => resolve(text.trim()), none);
    });
  } finally {
    terminal.close();
    release();
  }
}
