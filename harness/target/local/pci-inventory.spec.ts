import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readPciInventory } from './pci-inventory.ts';

describe('PCI inventory', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'sysfs-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  function add(bdf: string, type: string, group: number | null, driver: string | null): void {
    const path = join(root, 'bus/pci/devices', bdf);
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'vendor'), '0x8086\n');
    writeFileSync(join(path, 'device'), '0x10c9\n');
    writeFileSync(join(path, 'class'), `0x${type}00\n`);
    writeFileSync(join(path, 'reset_method'), 'flr bus\n');
    if (group !== null) symlinkSync(`/kernel/iommu_groups/${group}`, join(path, 'iommu_group'));
    if (driver) symlinkSync(`/bus/pci/drivers/${driver}`, join(path, 'driver'));
  }

  it('says of each function who belongs to its group, bridges aside', () => {
    add('0000:00:01.0', '0604', 1, 'pcieport');
    add('0000:01:00.0', '0200', 1, 'vfio-pci');
    add('0000:01:00.1', '0200', 1, 'igb');
    add('0000:03:00.0', '0108', null, null);
    const functions = readPciInventory(root);
    expect(functions.map(({ bdf, groupMates }) => [bdf, groupMates])).toEqual([
      ['0000:00:01.0', ['0000:01:00.0', '0000:01:00.1']],
      ['0000:01:00.0', ['0000:01:00.1']],
      ['0000:01:00.1', ['0000:01:00.0']],
      ['0000:03:00.0', []],
    ]);
    expect(functions[1]).toMatchObject({
      id: '8086:10c9',
      class: '0200',
      driver: 'vfio-pci',
      iommuGroup: 1,
      reset: ['flr', 'bus'],
    });
  });

  it('is empty where there is no PCI', () => {
    expect(readPciInventory(root)).toEqual([]);
  });
});
