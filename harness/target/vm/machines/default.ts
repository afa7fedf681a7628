import type { Machine, MachineDevice } from '../machine.ts';

/** A root port of its own for one device or several functions. */
function port(at: string, ...behind: MachineDevice[]): MachineDevice {
  return { at, device: 'pcie-root-port', behind };
}

/** An option ROM that Linux can read but the firmware does not run: see `rom.ts`. */
const ROM = 'romfile=@ROM@';
/** edu reaches all of the IOVA space; its default of 28 bits clips addresses silently. */
const EDU = 'edu,dma_mask=0xffffffffffffffff';

/**
 * The devices on which the suites rest, the same on every machine; only the IOMMU differs.
 * Slots 1e and 1f are taken by the guest's own virtio devices and the chipset.
 */
export const TEST_DEVICES: MachineDevice[] = [
  // Integrated endpoints: no reset for edu, a large BAR on pci-testdev.
  { at: '02.0', device: EDU, role: 'edu' },
  { at: '03.0', device: `${EDU},multifunction=on`, role: 'edu-pair-a' },
  // Both say so: a function that is scanned again alone stays in the group of its slot.
  { at: '03.1', device: `${EDU},multifunction=on`, role: 'edu-pair-b' },
  { at: '04.0', device: 'pci-testdev,membar=8G', role: 'pci-testdev' },
  { at: '05.0', device: `VGA,${ROM}`, role: 'vga' },
  { at: '06.0', device: 'ivshmem-plain,memdev=ivshmem', role: 'ivshmem' },
  // A capability that VFIO shows and knows by its own contents.
  { at: '07.0', device: 'ich9-ahci', role: 'ahci' },
  port('08.0', { at: '00.0', device: EDU, role: 'edu-rp' }),
  port('09.0', { at: '00.0', device: `e1000e,${ROM}`, role: 'e1000e' }),
  port('0a.0', { at: '00.0', device: 'igb,romfile=', role: 'igb' }),
  // ARI makes two functions of one slot two groups.
  port(
    '0b.0',
    {
      at: '00.0',
      device: 'igb,romfile=,multifunction=on,x-pcie-ari-nextfn-1=on',
      role: 'igb-multi-0',
    },
    { at: '00.1', device: 'igb,romfile=,x-pcie-ari-nextfn-1=on', role: 'igb-multi-1' },
  ),
  port('0c.0', { at: '00.0', device: 'nvme,serial=conformance', role: 'nvme' }),
  port('0d.0', {
    at: '00.0',
    device: `virtio-net-pci,aer=on,ats=on,iommu_platform=on,disable-legacy=on,${ROM}`,
    role: 'virtio-net',
  }),
  port('0e.0', { at: '00.0', device: 'virtio-rng-pci,iommu_platform=on', role: 'virtio-rng' }),
  port('0f.0', { at: '00.0', device: 'qemu-xhci', role: 'xhci' }),
  // One slot without ACS: one group, reset together.
  port(
    '10.0',
    { at: '00.0', device: 'e1000e,romfile=,multifunction=on', role: 'mf-a' },
    { at: '00.1', device: 'e1000e,romfile=,multifunction=on', role: 'mf-b' },
  ),
  // A conventional bus: the bridge and all behind it are one group.
  port('11.0', {
    at: '00.0',
    device: 'pcie-pci-bridge',
    role: 'bridge',
    behind: [
      { at: '01.0', device: 'rtl8139,romfile=', role: 'bridge-child-a' },
      { at: '02.0', device: 'e1000,romfile=', role: 'bridge-child-b' },
    ],
  }),
  port('12.0', {
    at: '00.0',
    device: 'x3130-upstream',
    role: 'switch',
    behind: [
      {
        at: '00.0',
        device: 'xio3130-downstream',
        role: 'switch-port-a',
        behind: [{ at: '00.0', device: EDU, role: 'switch-edu-a' }],
      },
      {
        at: '01.0',
        device: 'xio3130-downstream',
        role: 'switch-port-b',
        behind: [{ at: '00.0', device: EDU, role: 'switch-edu-b' }],
      },
    ],
  }),
  port('13.0', { at: '00.0', device: 'vmxnet3,romfile=', role: 'vmxnet3' }),
  port('14.0', { at: '00.0', device: EDU, role: 'hotplug' }),
  // Extended capabilities that VFIO does not know.
  port('15.0', { at: '00.0', device: 'cxl-type3,volatile-memdev=cxl-memory', role: 'cxl' }),
  // Several MSI vectors; all of its extended config space can be written; no reset.
  { at: '16.0', device: 'qemu-xhci,msi=on,x-pcie-extcap-init=off', role: 'xhci-msi' },
  // More vectors than the processors have.
  {
    at: '17.0',
    device: 'nvme,serial=vectors,max_ioqpairs=1,msix_qsize=1025',
    role: 'many-vectors',
  },
  // Its driver leaves the VFs behind when it goes.
  port('19.0', {
    at: '00.0',
    device:
      'nvme,serial=vfs,subsys=vfs,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,max_ioqpairs=6,msix_qsize=4',
    role: 'nvme-vfs',
  }),
  // Tells of events that wake it (PME).
  // Not in slot 1a: on amd-iommu that is where the functions of igb's SR-IOV are.
  { at: '1c.0', device: 'i82550,romfile=', role: 'i82550' },
  // A root bus that the IOMMU leaves alone: no-IOMMU mode is for devices like these.
  {
    at: '18.0',
    device: 'pxb-pcie,bypass_iommu=on',
    rootBus: '80',
    behind: [
      {
        at: '00.0',
        device: 'pcie-root-port,hotplug=off',
        behind: [{ at: '00.0', device: EDU, role: 'no-iommu' }],
      },
    ],
  },
];

/**
 * A switch beside a function: what resets the one resets all that is behind the other.
 * Not on every machine: with AMD-Vi VFs of igb may need the slot.
 */
const BESIDE_A_SWITCH = port(
  '1b.0',
  { at: '00.0', device: `${EDU},multifunction=on`, role: 'beside-switch' },
  {
    at: '00.1',
    device: 'x3130-upstream,multifunction=on',
    behind: [
      {
        at: '00.0',
        device: 'xio3130-downstream',
        behind: [{ at: '00.0', device: 'ivshmem-plain,memdev=ivshmem-2g', role: 'ivshmem-2g' }],
      },
    ],
  },
);

/** What test devices need besides `-device`. */
export const TEST_BACKENDS = [
  '-object',
  'memory-backend-ram,id=ivshmem,size=8M,share=on',
  '-object',
  // Only what a test touches takes memory.
  'memory-backend-ram,id=ivshmem-2g,size=2G,share=on,prealloc=off,reserve=off',
  '-object',
  'memory-backend-ram,id=cxl-memory,size=256M',
  '-device',
  'nvme-subsys,id=vfs',
];

/** What announces devices that come and go behind ports: the port itself, or the ACPI of the chipset. */
export function hotplugBy(who: 'port' | 'acpi'): string[] {
  const acpi = who === 'acpi' ? 'on' : 'off';
  return ['-global', `ICH9-LPC.acpi-pci-hotplug-with-bridge-support=${acpi}`];
}

/** VT-d with all that it has. */
export const VTD = [
  '-M',
  'q35,kernel-irqchip=split',
  '-device',
  'intel-iommu,intremap=on,caching-mode=on,device-iotlb=on',
];

export const machine: Machine = {
  name: 'default',
  title: 'q35 with Intel VT-d: interrupt remapping, caching mode, device IOTLB',
  // With ACPI's hotplug, bus and hot resets fail: the data link layer is never seen active.
  qemu: [...VTD, ...TEST_BACKENDS, ...hotplugBy('port')],
  cpu: 'max',
  memoryMiB: 4096,
  append: ['intel_iommu=on'],
  firstModules: [],
  devices: [...TEST_DEVICES, BESIDE_A_SWITCH],
};
