import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';

/** Path of a group's node. */
export function groupNode(group: string): string {
  return `/dev/vfio/${group}`;
}

/** A device node in the form in which sysfs has it. */
export interface NodeFacts {
  /** `major:minor` */
  dev: string;
  isCharacterDevice: boolean;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
}

/** @throws ENOENT if there is no such node. */
export function nodeFacts(path: string): NodeFacts {
  const { rdev, mode, uid, gid } = statSync(path);
  // glibc's makedev(): 12 bits of major at 8, minor below and above it.
  const major = ((rdev >>> 8) & 0xfff) | 0;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return {
    dev: `${major}:${minor}`,
    isCharacterDevice: (mode & 0o170000) === 0o020000,
    mode: mode & 0o7777,
    uid,
    gid,
  };
}

/** A device in sysfs that a VFIO driver may be bound to. */
export interface SysfsDevice {
  /** The name by which VFIO knows it. */
  readonly name: string;
  /** Its folder. */
  readonly path: string;
}

/** Whether a member of the group is registered with VFIO: the node is there. */
export function hasGroupNode(group: string): boolean {
  return existsSync(groupNode(group));
}

/** Name of the device's entry in the class vfio-dev (`vfio3`), or null if it is not registered. */
export function vfioDevName({ path }: SysfsDevice): string | null {
  const folder = `${path}/vfio-dev`;
  return existsSync(folder) ? (readdirSync(folder)[0] ?? null) : null;
}

/** Path of the device's own node (VFIO_DEVICE_CDEV). @throws Error if it is not registered. */
export function deviceNode(device: SysfsDevice): string {
  const name = vfioDevName(device);
  if (name === null) throw new Error(`${device.name} is not registered with VFIO`);
  return `/dev/vfio/devices/${name}`;
}

/** `major:minor` as sysfs gives it, or null if the class device has no node. */
export function sysfsDev(folder: string): string | null {
  const path = `${folder}/dev`;
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : null;
}
