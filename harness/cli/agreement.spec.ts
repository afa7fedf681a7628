import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { agreeTo } from './agreement.ts';

/** A terminal at which somebody is asked. */
function terminal() {
  const input = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => undefined });
  const output = Object.assign(new PassThrough(), { isTTY: true });
  return { input, output };
}

/** Asks, and does something as soon as the question is there. */
async function asked(react: (at: ReturnType<typeof terminal>) => void): Promise<void> {
  const at = terminal();
  const agreed = agreeTo('the plan', false, at);
  setImmediate(() => react(at));
  await agreed;
}

describe('a run begins', () => {
  it.each(['y', 'YES'])('after %s', async (answer) => {
    await asked(({ input }) => input.write(`${answer}\r`));
  });

  it('without a question after --yes', () => agreeTo('the plan', true, terminal()));
});

describe('nothing is touched after', () => {
  it.each([
    ['an empty answer', '\r'],
    ['another answer', 'no\r'],
    ['Ctrl-C', '\x03'],
    ['Ctrl-D', '\x04'],
  ])('%s', async (_what, keys) => {
    await expect(asked(({ input }) => input.write(keys))).rejects.toThrow(/nothing was touched/);
  });

  it('the end of the terminal', async () => {
    await expect(asked(({ input }) => input.end())).rejects.toThrow(/nothing was touched/);
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const)('%s', async (signal) => {
    await expect(asked(() => process.emit(signal, signal))).rejects.toThrow(/nothing was touched/);
    expect(process.listenerCount('SIGHUP')).toBe(0);
  });
});

it('nobody is asked without a terminal', async () => {
  const at = { input: new PassThrough(), output: new PassThrough() };
  await expect(agreeTo('the plan', false, at)).rejects.toThrow(/--yes/);
});
