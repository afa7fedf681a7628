/** The files of one guest: what QEMU needs while it runs, and what stays with the results. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createBlackBox, removeNeedlessBlackBox } from '../black-box.ts';
import { laneSuffix } from '../lanes.ts';
import type { SessionEnd } from '../target.ts';
import { ConsoleFile } from './console-file.ts';
import { optionRom } from './rom.ts';

/** UNIX sockets between QEMU and the supervisor. */
export interface Sockets {
  qmp: string;
  events: string;
  status: string;
}

export interface SessionFiles {
  /** Folder of those that go with the session. */
  folder: string;
  sockets: Sockets;
  /** A FIFO: what is written to it is typed at the console. */
  consoleInput: string;
  console: ConsoleFile;
  /** Option ROM of the devices that get one. */
  rom: string;
  /** Folder that the guest may write to. */
  resultsShare: string;
  /** File that keeps the memory of the black box. */
  blackBox: string;
}

/** @param lane number of the guest among those that run side by side */
export function createSessionFiles(resultsDir: string, lane?: number): SessionFiles {
  const folder = socketFolder();
  const suffix = laneSuffix(lane);
  const files = {
    folder,
    sockets: {
      qmp: join(folder, 'qmp'),
      events: join(folder, 'events'),
      status: join(folder, 'status'),
    },
    consoleInput: join(folder, 'console-input'),
    console: new ConsoleFile(join(resultsDir, `console${suffix}.log`)),
    rom: join(folder, 'option.rom'),
    resultsShare: join(resultsDir, `guest${suffix}`),
    blackBox: join(resultsDir, `black-box${suffix}`),
  };
  mkdirSync(files.resultsShare, { recursive: true });
  createBlackBox(files.blackBox);
  writeFileSync(files.rom, optionRom());
  execFileSync('mkfifo', [files.consoleInput]);
  return files;
}

/** Removes what nobody needs after this end; the share stays if the guest put something there. */
export function removeSessionFiles(files: SessionFiles, end: SessionEnd): void {
  removeNeedlessBlackBox(files.blackBox, end);
  rmSync(files.folder, { recursive: true, force: true });
  if (readdirSync(files.resultsShare).length === 0) rmdirSync(files.resultsShare);
}

/**
 * A folder for sockets, whose paths must be short, so not below the results. Those of supervisors
 * that were killed are removed on the way.
 */
function socketFolder(): string {
  const prefix = 'vfio-conformance-';
  for (const name of readdirSync(tmpdir())) {
    const owner = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1];
    if (owner && !existsSync(`/proc/${owner}`))
      try {
        rmSync(join(tmpdir(), name), { recursive: true, force: true });
      } catch {
        // another user's
      }
  }
  return mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`));
}
