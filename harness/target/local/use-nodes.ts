import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { linkName, namesIn, readText, realPath } from './files.ts';
import { loginProcesses } from './login.ts';
import { multipathSubsystems } from './nvme-multipath.ts';
import type { PciFunction } from './pci-inventory.ts';
import type { Roots, Use } from './use.ts';

const MASS_STORAGE = '01';
/** Subsystems whose nodes lead to a disk or a tape, behind a controller of whichever class. */
const STORAGE = /^(block|bsg|mtd|nvme|nvme-generic|scsi_changer|scsi_generic|scsi_tape)$/;
/** Nodes that only those have open who draw on the screen; programs that compute have others. */
const DISPLAY = /^\/dev\/(dri\/card|fb)\d+$/;
const INPUT = /^\/dev\/input\//;
const WATCHDOG = /^\/dev\/watchdog\d*$/;

interface Node {
  path: string;
  subsystem: string;
}

/** Process ids by the node in /dev that they have open. */
export type OpenNodes = ReadonlyMap<string, readonly string[]>;

/** Looks through the processes that this user may look into. */
export function readOpenNodes(proc = '/proc'): OpenNodes {
  const found = new Map<string, string[]>();
  for (const pid of namesIn(proc).filter((name) => /^\d+$/.test(name)))
    for (const fd of namesIn(join(proc, pid, 'fd'))) {
      const node = linkTarget(join(proc, pid, 'fd', fd));
      if (!node.startsWith('/dev/')) continue;
      const pids = found.get(node) ?? [];
      if (!pids.includes(pid)) found.set(node, [...pids, pid]);
    }
  return found;
}

/** Which processes have a node of the function's open: a disk, a GPU, a keyboard, VFIO itself. */
export function nodeUses(one: PciFunction, path: string, open: OpenNodes, roots: Roots): Use[] {
  const nodes = [path, ...multipathSubsystems(path, roots.sys)].flatMap((one) =>
    nodesBelow(realPath(one)),
  );
  if (one.iommuGroup !== null) nodes.push({ path: groupNode(one.iommuGroup), subsystem: 'vfio' });
  const login = loginProcesses(roots.proc);
  const desktops = [...open].filter(([node]) => DISPLAY.test(node)).flatMap(([, pids]) => pids);
  return nodes.flatMap((node) => {
    const pids = open.get(node.path) ?? [];
    if (pids.length === 0) return [];
    const names = pids.map((pid) => `${pid} (${readText(join(roots.proc, pid, 'comm'))})`);
    const what = `${node.path} is open in process ${names.join(', ')}`;
    const isDesktop = pids.some((pid) => desktops.includes(pid));
    const stake = pids.some((pid) => login.includes(pid))
      ? 'this login rests on it'
      : stakeIn(node, one, isDesktop);
    return [
      stake === null ? { what, forcible: true } : { what: `${what}; ${stake}`, forcible: false },
    ];
  });
}

/** What would be at stake if an open node went away, in words, or null if nothing is. */
function stakeIn({ path, subsystem }: Node, one: PciFunction, isDesktop: boolean): string | null {
  if (path.startsWith('/dev/vfio/')) return 'the kernel would wait until it is closed';
  if (STORAGE.test(subsystem) || one.class.startsWith(MASS_STORAGE)) return 'data could be lost';
  if (subsystem === 'usb') return 'there may be a disk behind it';
  if (WATCHDOG.test(path)) return 'the machine could be reset';
  if (DISPLAY.test(path) || (INPUT.test(path) && isDesktop))
    return 'a graphical login may rest on it';
  return null;
}

/** The node of an IOMMU group. */
export function groupNode(group: number): string {
  return `/dev/vfio/${group}`;
}

/** The nodes through which programs have a function from VFIO: that of its group, and its own. */
export function vfioNodes(path: string): string[] {
  const group = linkName(join(path, 'iommu_group'));
  return [
    ...(group === null ? [] : [groupNode(Number(group))]),
    ...namesIn(join(path, 'vfio-dev')).map((name) => `/dev/vfio/devices/${name}`),
  ];
}

/** The nodes in /dev of a device and all below it. */
function nodesBelow(folder: string): Node[] {
  return namesIn(folder).flatMap((name) => {
    const path = join(folder, name);
    if (name === 'uevent') {
      const node = /^DEVNAME=(.*)$/m.exec(readText(path))?.[1];
      const subsystem = linkName(join(folder, 'subsystem')) ?? '';
      return node === undefined ? [] : [{ path: `/dev/${node}`, subsystem }];
    }
    return isFolder(path) ? nodesBelow(path) : [];
  });
}

/** Links lead back up, or to other devices. */
function isFolder(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch {
    return false;
  }
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
