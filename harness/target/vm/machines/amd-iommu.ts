import type { Machine, MachineDevice } from '../machine.ts';
import { TEST_BACKENDS, TEST_DEVICES } from './default.ts';

/**
 * QEMU 10.0's amd-iommu asks for the number of a device's bus before the firmware has given it one
 * and takes it for 0 (hw/i386/amd_iommu.c amdvi_host_dma_iommu()): DMA from behind a port is not
 * translated. What is alone behind its port therefore sits on the root bus here; what hot-plugs has
 * to stay.
 */
function onRootBus(device: MachineDevice): MachineDevice {
  const [only, ...others] = device.behind ?? [];
  if (!only || others.length > 0 || only.behind || only.role === 'hotplug') return device;
  return { ...only, at: device.at };
}

export const machine: Machine = {
  name: 'amd-iommu',
  title: 'q35 with AMD-Vi: DMA remapping on the root bus, no interrupt remapping',
  // With pt=on DMA is silently not translated; with intremap=on Linux 6.12 panics at boot.
  qemu: ['-M', 'q35', '-device', 'amd-iommu,intremap=off,pt=off', ...TEST_BACKENDS],
  cpu: 'max',
  memoryMiB: 4096,
  append: ['iommu=nopt', 'noapic', 'vfio_iommu_type1.allow_unsafe_interrupts=1'],
  firstModules: [],
  devices: TEST_DEVICES.map(onRootBus),
};
