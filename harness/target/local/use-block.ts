import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { commandPath } from '../../../setup/shell.mjs';
import { classDevicesBelow, namesIn, readText, realPath } from './files.ts';
import { readMounts } from './mounts.ts';
import type { Roots, Use } from './use.ts';

/** Signatures of members of something larger, as blkid(8) names them. */
const MEMBERS = /_member$|^(crypto_LUKS|bcache|ceph_bluestore|drbd|VMFS.*)$/;

/** What uses the disks of a function: none of it may be taken away by force. */
export function blockUses(path: string, roots: Roots): Use[] {
  const { sys, proc } = roots;
  const disks = new Set([...classDevicesBelow(path, 'block', sys), ...multipathDisks(path, sys)]);
  const reasons: string[] = [];
  for (const disk of disks) {
    for (const holder of namesIn(join(sys, 'class/block', disk, 'holders'))) {
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
    const signature = signatureOf(disk);
    if (MEMBERS.test(signature)) because.push(`${name} holds a ${signature}`);
    const isHeld = namesIn(join(sys, 'class/block', disk, 'holders')).length > 0;
    if (because.length === 0 && !isHeld && isClaimed(disk))
      because.push(`${name} is in use by the kernel (a file system, ZFS, …)`);
    reasons.push(...because);
  }
  return [...reasons, ...sharedFolders(path, roots)].map((what) => ({ what, forcible: false }));
}

/** Disks with several paths hang from a subsystem and not from the controllers that lead to it. */
function multipathDisks(path: string, sys: string): string[] {
  const controllers = new Set(classDevicesBelow(path, 'nvme', sys));
  const subsystems = join(sys, 'class/nvme-subsystem');
  return namesIn(subsystems)
    .filter((name) => namesIn(join(subsystems, name)).some((child) => controllers.has(child)))
    .flatMap((name) => classDevicesBelow(join(subsystems, name), 'block', sys));
}

/** `vg-root` for `dm-0`, else the name of the block device itself. */
function volumeName(disk: string, sys: string): string {
  return readText(join(sys, 'class/block', disk, 'dm/name')) || disk;
}

/** What blkid finds at the beginning of a disk; empty if it finds nothing or may not look. */
function signatureOf(disk: string): string {
  const blkid = commandPath('blkid');
  if (blkid === undefined) return '';
  try {
    const args = ['-p', '-s', 'TYPE', '-o', 'value', `/dev/${disk}`];
    return execFileSync(blkid, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
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
