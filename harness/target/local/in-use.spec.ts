import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { usableDevices, type Roots } from './in-use.ts';

let folder: string;
let roots: Roots;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'in-use-'));
  roots = { sys: join(folder, 'sys'), proc: join(folder, 'proc') };
  mkdirSync(roots.proc);
});
afterEach(() => rmSync(folder, { recursive: true }));

function link(target: string, path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(target, path);
}

function addDevice(bdf: string, { driver, group }: { driver?: string; group?: number }): void {
  const path = join(roots.sys, 'bus/pci/devices', bdf);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'vendor'), '0x8086\n');
  writeFileSync(join(path, 'device'), '0x10d3\n');
  writeFileSync(join(path, 'class'), '0x020000\n');
  if (driver) link(`../../../../bus/pci/drivers/${driver}`, join(path, 'driver'));
  if (group !== undefined) link(`../../../kernel/iommu_groups/${group}`, join(path, 'iommu_group'));
}

describe('a device handed over by the user', () => {
  it('is taken when vfio-pci has it and nobody uses it', () => {
    addDevice('0000:03:00.0', { driver: 'vfio-pci', group: 7 });
    expect(usableDevices(['0000:03:00.0', '03:00.0'], roots).map(({ bdf }) => bdf)).toEqual([
      '0000:03:00.0',
      '0000:03:00.0',
    ]);
  });

  it.each([
    ['does not exist', {}, '0000:04:00.0', /there is no PCI device/],
    ['has another driver', { driver: 'e1000e', group: 7 }, '0000:03:00.0', /e1000e/],
    ['has no driver', { group: 7 }, '0000:03:00.0', /not bound to vfio-pci/],
    ['has no IOMMU group', { driver: 'vfio-pci' }, '0000:03:00.0', /no IOMMU/],
  ])('is refused when it %s', (_why, device, asked, message) => {
    addDevice('0000:03:00.0', device);
    expect(() => usableDevices([asked], roots)).toThrow(message);
  });

  it('is refused when another device of its group belongs to a driver', () => {
    addDevice('0000:03:00.0', { driver: 'vfio-pci', group: 7 });
    addDevice('0000:03:00.1', { driver: 'snd_hda_intel', group: 7 });
    expect(() => usableDevices(['03:00.0'], roots)).toThrow(/0000:03:00.1.*snd_hda_intel/);
  });

  it('is refused while a process has its group open, which is named', () => {
    addDevice('0000:03:00.0', { driver: 'vfio-pci', group: 7 });
    link('/dev/vfio/7', join(roots.proc, '4711/fd/12'));
    writeFileSync(join(roots.proc, '4711/comm'), 'qemu-system-x86\n');
    expect(() => usableDevices(['03:00.0'], roots)).toThrow(/4711 \(qemu-system-x86\)/);
  });
});
