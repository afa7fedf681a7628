import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { readMounts } from '../../../harness/target/local/mounts.ts';

/** The guest as the machine of somebody who does not want to find it changed. */

const DEVICES = '/sys/bus/pci/devices';
export const DISK = '/mnt';
/** Where the program under test keeps its plans: on the disk, so that they outlive a power cut. */
const STATE = '/var/lib/vfio-conformance';
/** The files that were on the disk from the start. */
const CONTENT = /\.md$/;
const MODULES = ['virtio_blk', 'virtio_net', 'ext4', 'e1000e', 'igb', 'nvme'];
export const ADDRESS = '10.0.2.15';

/** What the kernel counts, numbers anew, or takes away at the first driver by itself. */
const VOLATILE =
  /^(resource\d.*|rom|vpd|irq|uevent|.*_time|wakeup_.*|runtime_(active_time|suspended_time|usage|active_kids)|local_cpu.*|aer_.*|waiting_for_supplier)$/;

/** Brings the machine up: drivers, disk, network; and some settings that are not the kernel's own. */
export function bringUp(): void {
  // The emulator translates a program once, instead of anew for each start, where its addresses stay.
  writeFileSync('/proc/sys/kernel/randomize_va_space', '0');
  for (const name of MODULES) sh(`modprobe ${name}`);
  mkdirSync(DISK, { recursive: true });
  sh(`mount /dev/vda ${DISK}`);
  mkdirSync(join(DISK, 'state'), { recursive: true });
  mkdirSync(STATE, { recursive: true });
  sh(`mount --bind ${DISK}/state ${STATE}`);
  const card = linkOf(byId('1af4:1000'));
  sh(`ifconfig ${card} ${ADDRESS} netmask 255.255.255.0 up && route add default gw 10.0.2.2`);
  for (const [device, attribute, text] of settings())
    writeFileSync(join(DEVICES, device, attribute), text);
  sh(`ifconfig ${linkOf(byId('8086:10c9'))} up mtu 1400 txqueuelen 500`);
  keepForVms(byId('8086:10ca'));
  switchOff(byId('1234:11e8'));
}

/** Settings of spare devices that a run must not lose. */
function settings(): [device: string, attribute: string, text: string][] {
  return [
    [byId('8086:10c9'), 'sriov_numvfs', '2'],
    [byId('8086:10d3'), 'power/control', 'auto'],
    ...wakeupSettings(byId('8086:10d3')),
    [byId('1b36:0010'), 'reset_method', lastResetMethod(byId('1b36:0010'))],
    [byId('1234:11e8'), 'driver_override', 'pci-stub'],
  ];
}

/** As whoever hands virtual functions to virtual machines keeps them. */
function keepForVms(bdf: string): void {
  sh('modprobe vfio-pci');
  writeFileSync(join(DEVICES, bdf, 'driver_override'), 'vfio-pci');
  writeFileSync('/sys/bus/pci/drivers_probe', bdf);
}

/** The setting that the driver does not choose, where the device can wake the machine. */
function wakeupSettings(bdf: string): [device: string, attribute: string, text: string][] {
  const now = read(join(DEVICES, bdf, 'power/wakeup'));
  return now === '' ? [] : [[bdf, 'power/wakeup', now === 'enabled' ? 'disabled' : 'enabled']];
}

/** As firmware leaves what it does not need: the device answers neither on memory nor on ports. */
function switchOff(bdf: string): void {
  const config = openSync(join(DEVICES, bdf, 'config'), 'r+');
  writeSync(config, Buffer.from([0, 0]), 0, 2, 4);
  closeSync(config);
}

/** The one that the kernel would try last, and alone if it is the only one left. */
function lastResetMethod(bdf: string): string {
  const methods = readFileSync(join(DEVICES, bdf, 'reset_method'), 'utf8')
    .trim()
    .split(' ');
  return methods.at(-1)!;
}

/** The address of the first function with these ids. */
export function byId(id: string): string {
  const found = readdirSync(DEVICES).find((bdf) => {
    const read = (name: string) =>
      readFileSync(join(DEVICES, bdf, name), 'utf8')
        .trim()
        .slice(2);
    return `${read('vendor')}:${read('device')}` === id;
  });
  if (found === undefined) throw new Error(`the machine has no ${id}`);
  return found;
}

/** The network interface of a function. */
export function linkOf(bdf: string): string {
  const path = join(DEVICES, bdf);
  const [link] = readdirSync('/sys/class/net').filter((name) =>
    readlinkSync(`/sys/class/net/${name}`).includes(`/${basename(path)}/`),
  );
  if (link === undefined) throw new Error(`${bdf} has no interface`);
  return link;
}

/** All that must be the same afterwards, by name. */
export type Snapshot = Record<string, string>;

export function snapshot(): Snapshot {
  const all: Snapshot = {};
  for (const bdf of readdirSync(DEVICES)) {
    const path = join(DEVICES, bdf);
    all[`${bdf} driver`] = existsSync(join(path, 'driver'))
      ? basename(readlinkSync(join(path, 'driver')))
      : 'none';
    for (const folder of ['', 'power'])
      for (const name of readdirSync(join(path, folder))) {
        const file = join(path, folder, name);
        if (VOLATILE.test(name) || !lstatSync(file).isFile()) continue;
        all[`${bdf} ${join(folder, name)}`] = read(file);
      }
  }
  for (const link of readdirSync('/sys/class/net'))
    for (const name of ['flags', 'mtu', 'tx_queue_len'])
      all[`${link} ${name}`] = read(`/sys/class/net/${link}/${name}`);
  all['routes'] = read('/proc/net/route');
  all['address'] = String(sh('ifconfig').includes(ADDRESS));
  all['mounts'] = readMounts('/proc')
    .filter(({ place }) => place === DISK || place === STATE)
    .map(({ place, type, source }) => `${source} at ${place} (${type})`)
    .join(', ');
  Object.assign(all, contentOfDisk());
  return all;
}

/** The hashes of the files, read past the page cache, which would hide what has happened to the disk. */
function contentOfDisk(): Snapshot {
  const files = readdirSync(DISK, { recursive: true, encoding: 'utf8' })
    .filter((name) => CONTENT.test(name) && lstatSync(join(DISK, name)).isFile())
    .sort();
  // In one go: to start a process costs this machine more than to hash a file.
  const hashes = files.map((name) => `dd 'if=${join(DISK, name)}' iflag=direct bs=64k | sha256sum`);
  const lines = sh(`set -o pipefail; { ${hashes.join(' && ')}; } 2>/dev/null`).split('\n');
  return Object.fromEntries(files.map((name, index) => [`file ${name}`, lines[index]!]));
}

/** What is otherwise in the second snapshot, in words. */
export function changes(before: Snapshot, after: Snapshot): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names]
    .filter((name) => before[name] !== after[name])
    .map((name) => `${name}: ${before[name] ?? '(none)'} → ${after[name] ?? '(none)'}`);
}

/** Runs a command of busybox's shell. @throws Error if it fails */
export function sh(command: string): string {
  return execFileSync('/run/vfio-conformance/busybox', ['sh', '-c', command], { encoding: 'utf8' });
}

/** Bytes in hexadecimal, or a text; what cannot be read counts as it is. */
function read(file: string): string {
  try {
    const bytes = readFileSync(file);
    return basename(file) === 'config' ? bytes.toString('hex') : bytes.toString('utf8').trim();
  } catch (error) {
    return `(${(error as NodeJS.ErrnoException).code})`;
  }
}
