import type { Machine, MachineDevice } from '../machine.ts';
import { TEST_BACKENDS, TEST_DEVICES, hotplugBy } from './default.ts';

/** Devices that the suites, or the drivers of the host, let do DMA. */
const DMA_ROLES = ['edu-rp', 'e1000e', 'igb', 'nvme', 'nvme-vfs'];

/**
 * QEMU 10.0's amd-iommu asks for the number of a device's bus before the firmware has given it one
 * and takes it for 0 (hw/i386/amd_iommu.c amdvi_host_dma_iommu()): DMA from behind a port is not
 * translated. What does DMA therefore sits on the root bus here.
 */
function onRootBus(device: MachineDevice): MachineDevice {
  const only = device.behind?.length === 1 ? device.behind[0] : undefined;
  return DMA_ROLES.includes(only?.role ?? '') ? { ...only!, at: device.at } : device;
}

export const machine: Machine = {
  name: 'amd-iommu',
  title: 'q35 with AMD-Vi: DMA remapping on the root bus, no interrupt remapping',
  // With pt=on DMA is silently not translated; with intremap=on Linux 6.12 panics at boot.
  qemu: [
    '-M',
    'q35',
    '-device',
    'amd-iommu,intremap=off,pt=off',
    ...TEST_BACKENDS,
    ...hotplugBy('port'),
  ],
  cpu: 'max',
  memoryMiB: 4096,
  append: ['iommu=nopt', 'noapic', 'vfio_iommu_type1.allow_unsafe_interrupts=1'],
  firstModules: [],
  // A root bus that the IOMMU's tables do not name makes Linux 6.1 read behind its own (drivers/iommu/amd
  // check_device()): now and then it panics at boot.
  devices: TEST_DEVICES.filter(({ rootBus }) => rootBus === undefined).map(onRootBus),
};
