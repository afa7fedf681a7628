import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { namesIn } from './files.ts';
import { readMounts, type Mount } from './mounts.ts';
import type { Roots } from './use.ts';

/** File systems of the kernel whose data come over the network; that of OrangeFS is pvfs2. */
const NETWORK_FILE_SYSTEMS =
  /^(nfs4?|cifs|smb3|ceph|glusterfs|afs|coda|lustre|gfs2|ocfs2|pvfs2|beegfs|gpfs)$/;
/** File systems of programs, which have any name, or none as WebDAV has; fuseblk is for disks. */
const FUSE = /^fuse(\.|$)/;
/** Those of them that show what is on this machine. A desktop mounts the last two by itself. */
const LOCAL_FUSE =
  /^fuse\.(fuse-overlayfs|mergerfs|unionfs(-fuse)?|bindfs|encfs|gocryptfs|cryfs|veracrypt|dislocker|ntfs-3g|exfat(-fuse)?|squashfuse(_ll)?|snapfuse|archivemount|.*\.AppImage|lxcfs|portal|gvfsd-fuse)$/;
/** A 9p file system says in its options over what it goes; virtio stays within a machine. */
const NETWORK_TRANSPORT = /\btrans=(tcp|fd|rdma)\b/;
/** What there is in sysfs while a disk comes over the network. */
const NETWORK_DISKS: [folder: string, name: RegExp][] = [
  ['class/iscsi_session', /^session\d/],
  ['class/nvme-fabrics/ctl', /^nvme\d/],
  ['bus/rbd/devices', /^\d/],
  ['bus/fcoe/devices', /^ctlr_/],
  ['block', /^(drbd\d|etherd!|rnbd\d)/],
];

/** What of this machine's file systems and disks may come over some network, in words, or null. */
export function remoteStorage({ sys, proc }: Roots): string | null {
  const mount = readMounts(proc).find(isRemote);
  if (mount) return `${mount.place} (${mount.type})`;
  const disks =
    NETWORK_DISKS.some(([folder, disk]) =>
      namesIn(join(sys, folder)).some((name) => disk.test(name)),
    ) ||
    // A network block device that is connected has a server.
    namesIn(join(sys, 'block')).some((name) => existsSync(join(sys, 'block', name, 'pid')));
  return disks ? 'a disk of another machine' : null;
}

function isRemote({ type, options }: Mount): boolean {
  return (
    NETWORK_FILE_SYSTEMS.test(type) ||
    (FUSE.test(type) && !LOCAL_FUSE.test(type)) ||
    (type === '9p' && NETWORK_TRANSPORT.test(options))
  );
}
