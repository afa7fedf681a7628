import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from '../../target/errors.ts';
import type { Target } from '../../target/target.ts';
import { findPanic } from '../../target/vm/console.ts';
import { GUEST_FILES, MARK, sinceMark } from './guest-script.ts';
import type { Attempt } from './verdict.ts';

/** Puts the program where the guest finds it. */
export function handOver(program: string, directory: string): void {
  const guest = join(directory, 'guest');
  mkdirSync(guest, { recursive: true });
  copyFileSync(program, join(guest, GUEST_FILES.program));
}

/**
 * Boots a target whose `--before` is {@link guestScript} without giving it tests.
 * @throws SetupError if it does not come as far as to run the program
 */
export async function attemptInVm(
  target: Target,
  directory: string,
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<Attempt> {
  const session = await target.start({ tests: [] }, { onEvent: () => {}, onProgress: progress });
  const kill = (): void => void session.kill();
  signal.addEventListener('abort', kill);
  if (signal.aborted) kill();
  const end = await session.ended.finally(() => signal.removeEventListener('abort', kill));
  const text = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : '');
  const left = (name: keyof typeof GUEST_FILES) =>
    text(join(directory, 'guest', GUEST_FILES[name]));
  const console = text(join(directory, 'console.log')).replaceAll('\r', '');
  if (!console.includes(MARK) && !signal.aborted) {
    throw new SetupError(
      `the guest did not come as far as to run the program: ${end.detail}`,
      `look into ${join(directory, 'console.log')}`,
    );
  }
  const log = left('kernelLog');
  const status = left('status').trim();
  const since = sinceMark(log.includes(MARK) ? log : console);
  return {
    status: status === '' ? null : Number(status),
    panic: findPanic(since.join('\n')),
    output: left('output'),
    kernelLog: since,
  };
}
