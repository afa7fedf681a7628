import type { Machine } from '../machine.ts';
import { TEST_BACKENDS, TEST_DEVICES } from './default.ts';

export const machine: Machine = {
  name: 'amd-iommu',
  title: 'q35 with AMD-Vi: DMA remapping, no interrupt remapping',
  // With pt=on DMA is silently not translated; with intremap=on Linux 6.12 panics at boot.
  qemu: ['-M', 'q35', '-device', 'amd-iommu,intremap=off,pt=off', ...TEST_BACKENDS],
  cpu: 'max',
  memoryMiB: 4096,
  append: ['iommu=nopt', 'noapic', 'vfio_iommu_type1.allow_unsafe_interrupts=1'],
  firstModules: [],
  devices: TEST_DEVICES,
};
