import { mkdirSync, readFileSync, rmSync, writeFileSync, linkSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Runs `body` while no other process holds the same lock. The lock is a file with the holder's
 * process id and start time: a holder that was killed is recognised, also after its id was reused.
 * @template T
 * @param {string} file
 * @param {() => Promise<T>} body
 * @param {(holder: number) => void} [onWait] called once if another process holds it
 * @returns {Promise<T>}
 */
export async function withLock(file, body, onWait) {
  mkdirSync(dirname(file), { recursive: true });
  const mine = `${process.pid} ${startTime(process.pid)}\n`;
  const draft = `${file}.${process.pid}`;
  let waited = false;
  for (;;) {
    // A link appears with its content or not at all: nobody ever reads a half-written lock.
    writeFileSync(draft, mine);
    try {
      linkSync(draft, file);
      break;
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    } finally {
      rmSync(draft, { force: true });
    }
    const holder = liveHolder(file);
    if (holder === undefined) {
      rmSync(file, { force: true });
      continue;
    }
    if (!waited) onWait?.(holder);
    waited = true;
    await sleep(200);
  }
  try {
    return await body();
  } finally {
    rmSync(file, { force: true });
  }
}

/**
 * @param {string} file
 * @returns {number | undefined} the process that holds the lock, if it still lives
 */
function liveHolder(file) {
  let text;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const [pid, started] = text.trim().split(' ');
  return started !== '' && startTime(Number(pid)) === started ? Number(pid) : undefined;
}

/**
 * @param {number} pid
 * @returns {string} the process's start in clock ticks since boot, empty if it has ended
 */
export function startTime(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name, in parentheses, may itself hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended and only waits for its parent.
    return fields[0] === 'Z' ? '' : (fields[19] ?? '');
  } catch {
    return '';
  }
}
