import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { classDevicesBelow, linkName, namesIn, readText } from './files.ts';
import { loginAddress } from './login.ts';
import { readMounts } from './mounts.ts';
import type { PciFunction } from './pci-inventory.ts';
import type { Roots, Use } from './use.ts';

/** File systems whose data come over the network. */
const NETWORK_FILE_SYSTEMS = /^(nfs4?|cifs|smb3|ceph|glusterfs|fuse\.(sshfs|glusterfs))$/;
/** Block devices whose data come over the network. */
const NETWORK_DISKS = ['class/iscsi_session', 'class/nvme-fabrics/ctl'];

const NETWORK = '02';
/** Drivers that hand a card on to programs and give it no interface. */
const WITHOUT_INTERFACE = /^(vfio-pci|uio_pci_generic|igb_uio|pci-stub)$/;

/** What uses the interfaces of a function. An address or a route makes an interface used. */
export function networkUses(one: PciFunction, path: string, roots: Roots): Use[] {
  const { sys, proc } = roots;
  const links = classDevicesBelow(path, 'net', sys);
  const { driver } = one;
  if (links.length === 0 && one.class.startsWith(NETWORK))
    return driver === null || WITHOUT_INTERFACE.test(driver)
      ? []
      : [{ what: `its interface may be in another network namespace`, forcible: true }];
  const login = loginAddress(proc);
  const remote = remoteStorage(roots);
  return links.flatMap((link): Use[] => {
    const folder = join(sys, 'class/net', link);
    const addresses = (networkInterfaces()[link] ?? [])
      .map(({ address }) => address)
      .filter((address) => !address.startsWith('fe80:'));
    const uses: Use[] = [];
    if (login !== null && addresses.includes(login))
      uses.push({ what: `this login comes in over ${link}`, forcible: false });
    const forcible = remote === null;
    if (addresses.length > 0)
      uses.push({ what: `${link} has the address ${addresses.join(', ')}`, forcible });
    else if (hasRoute(link, proc)) uses.push({ what: `${link} has a route`, forcible });
    const master = linkName(join(folder, 'master'));
    if (master) uses.push({ what: `${link} is a member of ${master}`, forcible });
    for (const upper of namesIn(folder).filter((name) => name.startsWith('upper_')))
      if (upper !== `upper_${master}`)
        uses.push({ what: `${link} carries ${upper.slice('upper_'.length)}`, forcible });
    if (uses.length > 0 && remote !== null) uses.push({ what: remote, forcible: false });
    return uses;
  });
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
  const mount = readMounts(proc).find(({ type }) => NETWORK_FILE_SYSTEMS.test(type));
  if (mount) return `${mount.place} is mounted over the network`;
  const disks = NETWORK_DISKS.some((folder) =>
    namesIn(join(sys, folder)).some((name) => /^(session|nvme)\d/.test(name)),
  );
  return disks ? 'disks of this machine come over the network' : null;
}
