import { hostname, release } from 'node:os';
import { join } from 'node:path';
import { namesIn, readText, realPath } from './files.ts';

/** What a report says of this machine: the addresses alone are another's as well. */
export function localFacts(devices: readonly string[], sys = '/sys'): Record<string, string> {
  const folders = devices.map((bdf) => join(sys, 'bus/pci/devices', bdf));
  return {
    target: 'local',
    host: hostname(),
    kernel: release(),
    devices: devices.map((bdf, index) => `${bdf} ${idOf(folders[index]!)}`).join(', '),
    slots: folders.map(slotOf).join(', '),
    iommu: iommus(sys),
  };
}

/** `8086:10c9` */
function idOf(path: string): string {
  const ids = ['vendor', 'device'].map((name) => readText(join(path, name)).slice(2));
  return ids.every((id) => id === '') ? 'is not there' : ids.join(':');
}

/**
 * `pci0000:00/1c.0/00.0`: where a device is plugged in, by the slots of all bridges above it. The numbers
 * of buses are left out: a card that is plugged in elsewhere changes them.
 */
function slotOf(path: string): string {
  return realPath(path)
    .split('/')
    .filter((name) => /^(pci)?[\da-f]{4,}:[\da-f]{2}(:|$)/.test(name))
    .map((name) => name.replace(/^[\da-f]+:[\da-f]+:/, ''))
    .join('/');
}

/** The kinds of IOMMU, as their drivers name them: `dmar` for VT-d, `ivhd` for AMD-Vi, `smmu`. */
function iommus(sys: string): string {
  const kinds = namesIn(join(sys, 'class/iommu')).map((name) => name.replace(/\d.*$/, ''));
  return [...new Set(kinds)].join(' ');
}
