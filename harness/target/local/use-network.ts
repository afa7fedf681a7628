import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { classDevicesBelow, linkName, namesIn, readText } from './files.ts';
import { loginAddress } from './login.ts';
import type { PciFunction } from './pci-inventory.ts';
import { remoteStorage } from './remote-storage.ts';
import type { Roots, Use } from './use.ts';

const NETWORK = '02';
/** What the names of links to the interfaces above begin with. */
const UPPER = 'upper_';
/** Drivers that hand a card on to programs and give it no interface. */
const WITHOUT_INTERFACE = /^(.*vfio[-_]pci|uio_pci_generic|igb_uio|pci-stub)$/;

/**
 * What uses the interfaces of a function. An address, a route or a link above makes one used. Tunnels
 * and some disks need none of these: where there are any, each link that carries something is used.
 */
export function networkUses(one: PciFunction, path: string, roots: Roots): Use[] {
  const links = classDevicesBelow(path, 'net', roots.sys);
  const isElsewhere = links.length === 0 && hasInterface(one);
  if (links.length === 0 && !isElsewhere) return [];
  const login = loginOver(roots);
  const remote = remoteStorage(roots);
  const unsure: string[] = [];
  if (remote !== null) unsure.push(`${remote} may come over`);
  if (login.tunnel !== null)
    unsure.push(`this login comes in over ${login.tunnel}, perhaps by a tunnel through`);
  const forcible = unsure.length === 0;
  const mayGoThrough = (link: string): Use[] =>
    unsure.map((what) => ({ what: `${what} ${link}`, forcible: false }));
  if (isElsewhere)
    return [
      { what: `its interface may be in another network namespace`, forcible },
      ...mayGoThrough('its interface'),
    ];
  return links.flatMap((link): Use[] => {
    const uses = knownUses(link, roots).map((what) => ({ what, forcible }));
    if (login.links.includes(link))
      uses.unshift({ what: `this login comes in over ${link}`, forcible: false });
    if (uses.length === 0 && unsure.length > 0 && hasCarrier(link, roots))
      uses.push({ what: `${link} is up`, forcible });
    return uses.length === 0 ? [] : [...uses, ...mayGoThrough(link)];
  });
}

/** Whether the driver of a function makes an interface of it, here or elsewhere. */
function hasInterface({ class: code, driver }: PciFunction): boolean {
  return code.startsWith(NETWORK) && driver !== null && !WITHOUT_INTERFACE.test(driver);
}

/** Uses that the kernel tells of, in words. */
function knownUses(link: string, { sys, proc }: Roots): string[] {
  const uses: string[] = [];
  const addresses = addressesOf(link).filter((address) => !address.startsWith('fe80:'));
  if (addresses.length > 0) uses.push(`${link} has the address ${addresses.join(', ')}`);
  else if (hasRoute(link, proc)) uses.push(`${link} has a route`);
  const master = linkName(join(sys, 'class/net', link, 'master'));
  if (master) uses.push(`${link} is a member of ${master}`);
  for (const upper of linksAbove(link, sys))
    if (upper !== master) uses.push(`${link} carries ${upper}`);
  if (new RegExp(` ${link}$`, 'm').test(readText(join(proc, 'net/pppoe'))))
    uses.push(`${link} carries PPP over Ethernet`);
  return uses;
}

/** Whether a link is up and connected: that of a link that is down cannot be read. */
function hasCarrier(link: string, { sys }: Roots): boolean {
  return readText(join(sys, 'class/net', link, 'carrier')) === '1';
}

/** Over which cards the user has logged in; of a tunnel's packets only the routing knows the card. */
function loginOver({ sys, proc }: Roots): { links: string[]; tunnel: string | null } {
  const login = loginAddress(proc);
  if (login === null) return { links: [], tunnel: null };
  const all = namesIn(join(sys, 'class/net'));
  // A link-local address may be that of several.
  const owners = all.filter((link) => addressesOf(link).includes(login));
  const links = all.filter(
    (link) =>
      existsSync(join(sys, 'class/net', link, 'device')) &&
      withAllAbove(link, sys).some((one) => owners.includes(one)),
  );
  // A reverse tunnel ends at the loopback interface, which has more addresses than it is given.
  return { links, tunnel: links.length === 0 ? (owners[0] ?? login) : null };
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
