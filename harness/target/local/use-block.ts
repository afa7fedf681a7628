import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { commandPath } from '../../../setup/shell.mjs';
import { classDevicesBelow, namesIn, readText, realPath } from './files.ts';
import { readMounts } from './mounts.ts';
import { multipathSubsystems } from './nvme-multipath.ts';
import type { Roots, Use } from './use.ts';

/** Signatures of members of something larger, as blkid(8) names them. */
const MEMBERS = /_member$|^(crypto_LUKS|bcache|ceph_bluestore|drbd|VMFS.*)$/;
/** Where blkid(8) finds more than one, it names none and ends with this status. */
const AMBIVALENT = { status: 8, what: 'mixture of signatures' };

/** What uses the disks of a function: none of it may be taken away by force. */
export function blockUses(path: string, roots: Roots): Use[] {
  const { sys, proc } = roots;
  const disks = new Set(
    [path, ...multipathSubsystems(path, sys)].flatMap((one) =>
      classDevicesBelow(one, 'block', sys),
    ),
  );
  const reasons: string[] = [];
  for (const disk of disks) {
    for (const holder of holdersOf(disk, sys)) {
      reasons.push(`${disk} is part of ${volumeName(holder, sys)}`);
      // What lies on the volume uses the disk too; a set grows while it is walked.
      disks.add(holder);
    }
  }
  const mounts = readMounts(proc);
  const swaps = readText(join(proc, 'swaps'));
  for (const disk of disks) {
    const name = volumeName(disk, sys);
    const number = readText(join(sys, 'class/block', disk, 'dev'));
    const places = mounts
      .filter(({ dev, source }) => dev === number || realPath(source) === `/dev/${disk}`)
      .map(({ place }) => place);
    const because: string[] = [];
    if (places.length > 0) because.push(`${name} is mounted at ${places.join(', ')}`);
    if (new RegExp(`^/dev/${disk}\\s`, 'm').test(swaps)) because.push(`${name} is swap`);
    if (isExported(disk, sys)) because.push(`${name} is exported over NVMe`);
    const signature = signatureOf(disk);
    if (MEMBERS.test(signature) || signature === AMBIVALENT.what)
      because.push(`${name} holds a ${signature}`);
    if (because.length === 0 && holdersOf(disk, sys).length === 0 && isClaimed(disk))
      because.push(`${name} is in use by the kernel (a file system, ZFS, …)`);
    reasons.push(...because);
  }
  return [...reasons, ...sharedFolders(path, roots)].map((what) => ({ what, forcible: false }));
}

/** What the kernel has made from a disk; a loop device claims its disk from nobody. */
function holdersOf(disk: string, sys: string): string[] {
  const loops = namesIn(join(sys, 'class/block')).filter(
    (name) => readText(join(sys, 'class/block', name, 'loop/backing_file')) === `/dev/${disk}`,
  );
  return [...namesIn(join(sys, 'class/block', disk, 'holders')), ...loops];
}

/** Whether the NVMe target gives a disk to other machines, for which it claims it from nobody. */
function isExported(disk: string, sys: string): boolean {
  const subsystems = join(sys, 'kernel/config/nvmet/subsystems');
  return namesIn(subsystems).some((subsystem) => {
    const namespaces = join(subsystems, subsystem, 'namespaces');
    return namesIn(namespaces).some(
      (name) => realPath(readText(join(namespaces, name, 'device_path'))) === `/dev/${disk}`,
    );
  });
}

/** `vg-root` for `dm-0`, else the name of the block device itself. */
function volumeName(disk: string, sys: string): string {
  return readText(join(sys, 'class/block', disk, 'dm/name')) || disk;
}

/** What blkid finds on a disk; empty if it finds nothing or may not look. */
function signatureOf(disk: string): string {
  const blkid = commandPath('blkid');
  if (blkid === undefined) return '';
  try {
    const args = ['-p', '-s', 'TYPE', '-o', 'value', `/dev/${disk}`];
    const said = execFileSync(blkid, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return said.trim();
  } catch (error) {
    const { status } = error as { status: number | null };
    return status === AMBIVALENT.status ? AMBIVALENT.what : '';
  }
}

/** Whether somebody in the kernel has it for himself: open(2), EBUSY of O_EXCL on a block device. */
function isClaimed(disk: string): boolean {
  try {
    closeSync(openSync(`/dev/${disk}`, constants.O_RDONLY | constants.O_EXCL));
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EBUSY';
  }
}

/** Folders of a host that a virtio device brings into this guest. */
function sharedFolders(path: string, { sys, proc }: Roots): string[] {
  const mounts = readMounts(proc);
  return namesIn(path)
    .filter((name) => /^virtio\d+$/.test(name))
    .map((name) => readText(join(sys, 'bus/virtio/devices', name, 'mount_tag')).replace(/\0/g, ''))
    .flatMap((tag) => mounts.filter(({ source, type }) => type === '9p' && source === tag))
    .map(({ source, place }) => `the folder ${source} is mounted at ${place}`);
}
