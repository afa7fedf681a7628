import type { Machine } from '../machine.ts';
import { TEST_BACKENDS, TEST_DEVICES, hotplugBy } from './default.ts';

export const machine: Machine = {
  name: 'virtio-iommu',
  title: 'q35 with virtio-iommu: 39-bit IOVA, no interrupt remapping',
  // The IOMMU has to exist before the devices behind it.
  qemu: [
    '-M',
    'q35',
    '-device',
    'virtio-iommu-pci,bus=pcie.0,addr=0x1d.0x0,id=virtio-iommu',
    ...TEST_BACKENDS,
    ...hotplugBy('port'),
  ],
  cpu: 'max',
  memoryMiB: 4096,
  append: ['vfio_iommu_type1.allow_unsafe_interrupts=1'],
  firstModules: ['virtio_pci', 'virtio_iommu'],
  // With a conventional bus behind it Linux 7.3 stops setting up the IOMMU half-way.
  devices: TEST_DEVICES.filter(({ at }) => at !== '11.0'),
};
