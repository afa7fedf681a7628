import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, worker } from '../../../setup/build.mjs';
import { projectFolder } from '../../../setup/paths.mjs';
import { commandPath } from '../../../setup/shell.mjs';
import { DEFAULT_KERNEL } from '../../../harness/target/vm/kernels.ts';
import { prepareVm } from '../../../harness/target/vm/guest.ts';
import { OUTCOME, WORKER, type Outcome } from './outcome.ts';

const INSIDE = 'dist/e2e-bare-metal.mjs';
const DISK_BYTES = 64 << 20;

/** What a guest has besides its spare devices: a disk with a file system, a network card. */
function ownDevices(disk: string): string[] {
  return [
    ...['-drive', `file=${disk},format=raw,if=none,id=disk`],
    ...['-device', 'virtio-blk-pci,drive=disk,bus=pcie.0'],
    ...['-netdev', 'user,id=network,restrict=on'],
    ...['-device', 'virtio-net-pci,netdev=network,bus=pcie.0,romfile='],
    // A reset is a power cut: the machine comes up again.
    ...['-action', 'reboot=reset'],
  ];
}

/**
 * Boots a guest that is to be taken for a real machine, and plays a scenario of `inside.ts` in it.
 * @param folder new; console, disk and what the scenario leaves lie there
 * @param limitMs for all boots of the scenario together
 */
export async function playOnMachine(
  scenario: string,
  folder: string,
  limitMs: number,
): Promise<Outcome> {
  mkdirSync(folder, { recursive: true });
  const entry = 'tests/e2e/bare-metal/inside.ts';
  await build();
  await build([{ entry, outfile: INSIDE }, worker('tests/e2e/bare-metal/suites', WORKER)]);
  const target = await prepareVm(
    {
      kernel: DEFAULT_KERNEL,
      machine: 'default',
      append: [],
      qemuArgs: ownDevices(makeDisk(folder)),
      before: `${process.execPath} ${INSIDE} ${scenario}`,
      resultsDir: folder,
      bootTimeoutMs: limitMs,
    },
    () => {},
  );
  const session = await target.start({ tests: [] }, { onEvent() {}, onProgress() {} });
  const end = await session.ended;
  const outcome = join(folder, 'guest', OUTCOME);
  if (!existsSync(outcome)) throw new Error(`no outcome in ${folder}: ${end.kind}, ${end.detail}`);
  checkDisk(join(folder, 'disk.img'));
  return JSON.parse(readFileSync(outcome, 'utf8')) as Outcome;
}

/** An image with an ext4 file system that holds the project's documentation. */
function makeDisk(folder: string): string {
  const disk = join(folder, 'disk.img');
  writeFileSync(disk, '');
  truncateSync(disk, DISK_BYTES);
  const content = join(projectFolder, 'docs');
  execFileSync(tool('mke2fs'), ['-q', '-t', 'ext4', '-d', content, disk]);
  return disk;
}

/** @throws Error if the file system needs more than its journal to be whole */
function checkDisk(disk: string): void {
  execFileSync(tool('e2fsck'), ['-p', disk], { stdio: 'ignore' });
}

function tool(name: string): string {
  const path = commandPath(name);
  if (path === undefined) throw new Error(`${name} is not installed (Debian: e2fsprogs)`);
  return path;
}
