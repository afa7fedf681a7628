import { join } from 'node:path';
import { readText } from './files.ts';

/** The process ids of this process and all above it: what this login consists of. */
export function loginProcesses(proc: string): string[] {
  const found: string[] = [];
  let pid = String(process.pid);
  while (pid !== '' && pid !== '0' && !found.includes(pid)) {
    found.push(pid);
    pid = /^PPid:\s*(\d+)/m.exec(readText(join(proc, pid, 'status')))?.[1] ?? '';
  }
  return found;
}

/**
 * The address of this machine over which the user has logged in, or null. sudo hides the variable
 * that ssh sets, so those of the processes above are looked at too.
 */
export function loginAddress(proc: string): string | null {
  const environments = loginProcesses(proc).map((pid) => readText(join(proc, pid, 'environ')));
  const variables = environments.flatMap((text) => text.split('\0'));
  const connection = variables.find((one) => one.startsWith('SSH_CONNECTION='));
  // client address, client port, server address, server port; a link-local address has a zone
  return connection?.split(' ')[2]?.split('%', 1)[0] ?? null;
}
