import { spawnSync, type ChildProcess } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawnDependent } from '../death.ts';

export const QEMU = 'qemu-system-x86_64';

/** The machines' network cards are not connected to anything. */
const EXPECTED_WARNINGS = /^.*warning: nic \S+ has no peer\n/gm;

/** A running emulator. */
export interface Emulator {
  process: ChildProcess;
  /** What it wrote to stderr so far. */
  stderr(): string;
  /** Resolves when the process has ended, with its exit status or signal in words. */
  exited: Promise<string>;
}

/** Starts QEMU so that it dies with this process. */
export function startQemu(args: string[]): Emulator {
  const child = spawnDependent(QEMU, args, ['ignore', 'ignore', 'pipe']);
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    // A flood of warnings must not fill the memory: beginning and end are what matters.
    said += chunk.toString();
    if (said.length > 200_000) said = said.slice(0, 50_000) + '\n[…]\n' + said.slice(-100_000);
  });
  const exited = new Promise<string>((resolve) => {
    child.on('error', (error) => {
      said += `${error.message}\n`;
      resolve(error.message);
    });
    child.on('close', (code, signal) => {
      resolve(signal ? `signal ${signal}` : `status ${code}`);
    });
  });
  return { process: child, stderr: () => said.replace(EXPECTED_WARNINGS, ''), exited };
}

/** Connects to a socket that QEMU is about to create. */
export async function connectSocket(path: string, emulator: Emulator): Promise<Socket> {
  let ended: string | undefined;
  void emulator.exited.then((how) => (ended = how));
  for (;;) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect(path);
        socket.once('connect', () => resolve(socket));
        socket.once('error', reject);
      });
    } catch {
      if (ended !== undefined) throw new Error(`QEMU ended at once (${ended})`);
      await sleep(10);
    }
  }
}

/** `10.0.2`, or undefined if QEMU is not installed. */
export function qemuVersion(): string | undefined {
  const { stdout } = spawnSync(QEMU, ['--version'], { encoding: 'utf8' });
  return /version (\d+\.\d+\.\d+)/.exec(stdout ?? '')?.[1];
}
