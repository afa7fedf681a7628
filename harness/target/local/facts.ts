import { hostname, release } from 'node:os';
import { join } from 'node:path';
import { namesIn, readText } from './files.ts';

/** What a report says of this machine: the addresses alone are another's as well. */
export function localFacts(devices: readonly string[], sys = '/sys'): Record<string, string> {
  return {
    target: 'local',
    host: hostname(),
    kernel: release(),
    devices: devices.map((bdf) => `${bdf} ${idOf(join(sys, 'bus/pci/devices', bdf))}`).join(', '),
    iommu: iommus(sys),
  };
}

/** `8086:10c9` */
function idOf(path: string): string {
  return ['vendor', 'device'].map((name) => readText(join(path, name)).slice(2)).join(':');
}

/** The kinds of IOMMU, as their drivers name them: `dmar` for VT-d, `ivhd` for AMD-Vi, `smmu`. */
function iommus(sys: string): string {
  const kinds = namesIn(join(sys, 'class/iommu')).map((name) => name.replace(/\d.*$/, ''));
  return [...new Set(kinds)].join(' ');
}
