import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { absentModules, loadOrder, moduleName, parseModulesDep } from './modules.ts';

const DEP = parseModulesDep(
  [
    'kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/drivers/vfio/pci/vfio-pci-core.ko.xz kernel/drivers/vfio/vfio.ko.xz kernel/virt/lib/irqbypass.ko.xz',
    'kernel/drivers/vfio/pci/vfio-pci-core.ko.xz: kernel/drivers/vfio/vfio.ko.xz kernel/virt/lib/irqbypass.ko.xz',
    'kernel/drivers/vfio/vfio.ko.xz:',
    'kernel/virt/lib/irqbypass.ko.xz:',
    'kernel/drivers/vfio/vfio_iommu_type1.ko.xz: kernel/drivers/vfio/vfio.ko.xz',
    '',
  ].join('\n'),
);

it('knows a module by the name that the kernel gives it', () => {
  expect(moduleName('kernel/drivers/vfio/pci/vfio-pci-core.ko.xz')).toBe('vfio_pci_core');
  expect(moduleName('9pnet_virtio.ko')).toBe('9pnet_virtio');
  expect(moduleName('igb.ko.zst')).toBe('igb');
});

it('loads each module after all that it depends on, and once', () => {
  const order = loadOrder(['vfio_iommu_type1', 'vfio-pci'], DEP).map(moduleName);
  expect(order).toHaveLength(5);
  for (const [name, { needs }] of DEP)
    for (const need of needs)
      expect(order.indexOf(moduleName(need))).toBeLessThan(order.indexOf(name));
});

it('leaves out what is built in or absent', () => {
  expect(loadOrder(['overlay', 'vfio'], DEP)).toEqual(['kernel/drivers/vfio/vfio.ko.xz']);
});

it('says what a kernel was built without, if the kernel says what it has', () => {
  const folder = mkdtempSync(join(tmpdir(), 'modules-'));
  try {
    const wanted = ['virtio_pci', 'virtio_iommu', 'vfio'];
    expect(absentModules(wanted, folder)).toEqual([]);
    writeFileSync(join(folder, 'modules.dep'), 'kernel/drivers/vfio/vfio.ko.xz:\n');
    writeFileSync(join(folder, 'modules.builtin'), 'kernel/drivers/virtio/virtio-pci.ko\n');
    expect(absentModules(wanted, folder)).toEqual(['virtio_iommu']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
