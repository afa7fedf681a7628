import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { classDevicesBelow, namesIn, readText } from './files.ts';
import { waitWhile } from './waiting.ts';

const IFF_UP = 1;
/** Settings that are put back by writing the old text (Documentation/ABI/testing/sysfs-class-net). */
const SETTINGS = ['mtu', 'tx_queue_len'] as const;

/** A network interface of a function, or of a virtio or USB device below it. */
export interface LinkState {
  name: string;
  /** Which of the function's it is, whatever its name. */
  port: string;
  up: boolean;
  settings: Record<(typeof SETTINGS)[number], string>;
}

/** @param path of the function, in sysfs */
export function captureLinks(path: string, sys = '/sys'): LinkState[] {
  return classDevicesBelow(path, 'net', sys).map((name) => {
    const read = (file: string): string => readText(join(sys, 'class/net', name, file));
    return {
      name,
      port: read('dev_port'),
      up: (Number(read('flags')) & IFF_UP) !== 0,
      settings: { mtu: read('mtu'), tx_queue_len: read('tx_queue_len') },
    };
  });
}

/** How links are set up, in words; what they are called is not in the kernel's hands. */
export function describeLinks(links: readonly LinkState[]): string {
  return links
    .map(({ port, up, settings }) => {
      const texts = Object.entries(settings).map(([name, text]) => `${name} ${text}`);
      return [`port ${port}`, up ? 'up' : 'down', ...texts].join(' ');
    })
    .sort()
    .join(', ');
}

/**
 * Sets links up as they were. A driver may make them after its probe, under names that udev changes
 * later: they are waited for, and known by their port where the name does not come.
 */
export function putBackLinks(
  path: string,
  wanted: readonly LinkState[],
  sys = '/sys',
  patienceMs?: number,
): void {
  const folder = join(sys, 'class/net');
  waitWhile(() => {
    const names = namesIn(folder);
    return wanted.find(({ name }) => !names.includes(name)) ?? null;
  }, patienceMs);
  const found = captureLinks(path, sys);
  for (const one of wanted) {
    const now =
      found.find(({ name }) => name === one.name) ??
      found.find(({ name, port }) => port === one.port && wanted.every((o) => o.name !== name));
    if (now) putBackLink(join(folder, now.name), one, now);
  }
}

function putBackLink(path: string, wanted: LinkState, now: LinkState): void {
  for (const name of SETTINGS)
    if (now.settings[name] !== wanted.settings[name])
      writeFileSync(join(path, name), wanted.settings[name]);
  if (now.up === wanted.up) return;
  const flags = Number(readText(join(path, 'flags')));
  const text = (wanted.up ? flags | IFF_UP : flags & ~IFF_UP).toString(16);
  writeFileSync(join(path, 'flags'), `0x${text}`);
}
