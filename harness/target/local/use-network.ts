import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { classDevicesBelow, linkName, namesIn, readText } from './files.ts';
import { loginAddress } from './login.ts';
import { readMounts } from './mounts.ts';
import type { PciFunction } from './pci-inventory.ts';
import type { Roots, Use } from './use.ts';

/** File systems whose data come over the network. */
const NETWORK_FILE_SYSTEMS =
  /^(nfs4?|cifs|smb3|ceph|glusterfs|afs|lustre|gfs2|ocfs2|orangefs|beegfs|gpfs|fuse\.(sshfs|glusterfs))$/;
/** A 9p file system says in its options over what it goes; virtio stays within a machine. */
const NETWORK_TRANSPORT = /\btrans=(tcp|fd|rdma)\b/;
/** What there is in sysfs while a disk comes over the network. */
const NETWORK_DISKS: [folder: string, name: RegExp][] = [
  ['class/iscsi_session', /^session\d/],
  ['class/nvme-fabrics/ctl', /^nvme\d/],
  ['bus/rbd/devices', /^\d/],
  ['bus/fcoe/devices', /^ctlr_/],
  ['block', /^(drbd\d|etherd!)/],
];

const NETWORK = '02';
const LOOPBACK = 'lo';
/** What the names of links to the interfaces above begin with. */
const UPPER = 'upper_';
/** Drivers that hand a card on to programs and give it no interface. */
const WITHOUT_INTERFACE = /^(.*vfio[-_]pci|uio_pci_generic|igb_uio|pci-stub)$/;

/** What uses the interfaces of a function. An address or a route makes an interface used. */
export function networkUses(one: PciFunction, path: string, roots: Roots): Use[] {
  const { sys, proc } = roots;
  const links = classDevicesBelow(path, 'net', sys);
  const { driver } = one;
  if (links.length === 0 && one.class.startsWith(NETWORK))
    return driver === null || WITHOUT_INTERFACE.test(driver)
      ? []
      : [{ what: `its interface may be in another network namespace`, forcible: true }];
  const login = loginOver(sys, proc);
  const remote = remoteStorage(roots);
  return links.flatMap((link): Use[] => {
    const folder = join(sys, 'class/net', link);
    const addresses = addressesOf(link).filter((address) => !address.startsWith('fe80:'));
    const uses: Use[] = [];
    if (login.links.includes(link))
      uses.push({ what: `this login comes in over ${link}`, forcible: false });
    const forcible = remote === null;
    if (addresses.length > 0)
      uses.push({ what: `${link} has the address ${addresses.join(', ')}`, forcible });
    else if (hasRoute(link, proc)) uses.push({ what: `${link} has a route`, forcible });
    const master = linkName(join(folder, 'master'));
    if (master) uses.push({ what: `${link} is a member of ${master}`, forcible });
    for (const upper of linksAbove(link, sys))
      if (upper !== master) uses.push({ what: `${link} carries ${upper}`, forcible });
    if (uses.length > 0 && remote !== null) uses.push({ what: remote, forcible: false });
    if (uses.length > 0 && login.tunnel !== null)
      uses.push({
        what: `this login comes in over ${login.tunnel}, which may go through ${link}`,
        forcible: false,
      });
    return uses;
  });
}

/** Over which cards the user has logged in; of a tunnel's packets only the routing knows the card. */
function loginOver(sys: string, proc: string): { links: string[]; tunnel: string | null } {
  const login = loginAddress(proc);
  const all = namesIn(join(sys, 'class/net'));
  // A link-local address may be that of several.
  const owners = all.filter((link) => login !== null && addressesOf(link).includes(login));
  if (owners.length === 0 || owners.includes(LOOPBACK)) return { links: [], tunnel: null };
  const links = all.filter(
    (link) =>
      existsSync(join(sys, 'class/net', link, 'device')) &&
      withAllAbove(link, sys).some((one) => owners.includes(one)),
  );
  return { links, tunnel: links.length === 0 ? owners[0]! : null };
}

function addressesOf(link: string): string[] {
  return (networkInterfaces()[link] ?? []).map(({ address }) => address);
}

/** Bridges, bonds, VLANs and the like that a link is part of (Documentation/ABI/testing/sysfs-class-net). */
function linksAbove(link: string, sys: string): string[] {
  return namesIn(join(sys, 'class/net', link))
    .filter((name) => name.startsWith(UPPER))
    .map((name) => name.slice(UPPER.length));
}

/** A link and what is above it, and above that. */
function withAllAbove(link: string, sys: string): string[] {
  const found = new Set([link]);
  // A set grows while it is walked.
  for (const one of found) for (const upper of linksAbove(one, sys)) found.add(upper);
  return [...found];
}

/** Routes of IPv4 and IPv6, those aside that the kernel gives to every link that is up. */
function hasRoute(link: string, proc: string): boolean {
  if (new RegExp(`^${link}\\s`, 'm').test(readText(join(proc, 'net/route')))) return true;
  return readText(join(proc, 'net/ipv6_route'))
    .split('\n')
    .some((line) => line.endsWith(` ${link}`) && !/^(fe80|ff00)/.test(line));
}

/** Whether a file system or disk of this machine comes over some network, in words. */
function remoteStorage({ sys, proc }: Roots): string | null {
  const mount = readMounts(proc).find(
    ({ type, options }) =>
      NETWORK_FILE_SYSTEMS.test(type) || (type === '9p' && NETWORK_TRANSPORT.test(options)),
  );
  if (mount) return `${mount.place} is mounted over the network`;
  const disks =
    NETWORK_DISKS.some(([folder, disk]) =>
      namesIn(join(sys, folder)).some((name) => disk.test(name)),
    ) ||
    // A network block device that is connected has a server.
    namesIn(join(sys, 'block')).some((name) => existsSync(join(sys, 'block', name, 'pid')));
  return disks ? 'disks of this machine come over the network' : null;
}
