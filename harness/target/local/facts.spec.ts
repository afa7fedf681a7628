import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { localFacts } from './facts.ts';

let sys: string;
beforeEach(() => (sys = mkdtempSync(join(tmpdir(), 'facts-'))));
afterEach(() => rmSync(sys, { recursive: true }));

it('a report of this machine says which devices and which IOMMU it has tested', () => {
  const device = join(sys, 'devices/pci0000:00/0000:00:1c.0/0000:03:00.0');
  mkdirSync(device, { recursive: true });
  mkdirSync(join(sys, 'bus/pci/devices'), { recursive: true });
  symlinkSync(device, join(sys, 'bus/pci/devices/0000:03:00.0'));
  writeFileSync(join(device, 'vendor'), '0x8086\n');
  writeFileSync(join(device, 'device'), '0x10c9\n');
  for (const name of ['dmar0', 'dmar1'])
    mkdirSync(join(sys, 'class/iommu', name), { recursive: true });
  expect(localFacts(['0000:03:00.0'], sys)).toMatchObject({
    devices: '0000:03:00.0 8086:10c9',
    slots: 'pci0000:00/1c.0/00.0',
    iommu: 'dmar',
  });
});
