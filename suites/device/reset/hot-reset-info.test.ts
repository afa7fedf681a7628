import {
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_PCI_HOT_RESET,
  enableDevice,
  expect,
  groupMembers,
  hotResetInfo,
  scratchRegisters,
  test,
  tryGetHotResetInfo,
  tryHotReset,
  unbind,
  OWN_MACHINE,
  type AffectedFunction,
  type Device,
  type PciFunction,
} from '../../../harness/testing/index.ts';

const INFO = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_pci_hot_reset_info()';
const HEADER = 12;
const ENTRY = 8;
/** One function behind a port of its own. */
const SINGLE = ['edu-rp', 'e1000e', 'igb', 'nvme', 'virtio-net', 'switch-edu-a'];

/** All functions on the bus of `pci`, as the hot reset info should list them. */
function onTheBus(pci: PciFunction): AffectedFunction[] {
  return pci
    .parent!.children.map((child) => ({ id: Number(child.group), bdf: child.bdf }))
    .sort((a, b) => a.bdf.localeCompare(b.bdf));
}

/** The functions that a hot reset of the device resets, sorted. */
function listed(device: Device): AffectedFunction[] {
  return hotResetInfo(device).devices.sort((a, b) => a.bdf.localeCompare(b.bdf));
}

test(
  'device.hot-reset-info.root-bus',
  'a device on the root bus cannot be hot reset and says so, whatever the size of the buffer',
  {
    covers: [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.fails('ENODEV')],
    source: INFO,
    devices: ['edu', 'edu-pair-a', 'vga'],
    peer: ['A11'],
    risks: ['hot-reset'],
  },
  ({ device, openGroup }) => {
    for (const argsz of [HEADER, HEADER + ENTRY, 4096]) {
      expect(tryGetHotResetInfo(device, argsz)).toFailWith('ENODEV');
    }
    expect(tryHotReset(device, [openGroup().fd])).toFailWith('ENODEV');
  },
);

test(
  'device.hot-reset-info.argsz',
  'a structure without its fixed part is refused and not written',
  {
    covers: [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.fails('EINVAL')],
    source: INFO,
    devices: ['igb', 'edu'],
  },
  ({ device }) => {
    for (const argsz of [0, 4, HEADER - 1]) {
      const answer = tryGetHotResetInfo(device, argsz);
      expect(answer, `argsz ${argsz}`).toFailWith('EINVAL');
      expect([answer.value.argsz, answer.value.flags, answer.value.count]).toEqual([
        argsz,
        0xffff_ffff,
        0,
      ]);
    }
  },
);

test(
  'device.hot-reset-info.short',
  'a buffer without room for all functions gets their number and ENOSPC, and no entry',
  {
    covers: [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.fails('ENOSPC')],
    source: INFO,
    devices: ['igb', 'mf-a', 'igb-multi-0', 'bridge-child-a'],
    peer: ['A11'],
  },
  ({ device, pci }) => {
    const { length } = onTheBus(pci);
    for (const argsz of [HEADER, HEADER + 1, HEADER + length * ENTRY - 1]) {
      const answer = tryGetHotResetInfo(device, argsz);
      expect(answer, `argsz ${argsz}`).toFailWith('ENOSPC');
      const { bytes, count, flags } = answer.value;
      expect([answer.value.argsz, flags, count]).toEqual([argsz, 0, length]);
      expect(bytes.subarray(HEADER).every((byte) => byte === 0xee)).toBe(true);
    }
    const exact = tryGetHotResetInfo(device, HEADER + length * ENTRY);
    expect(exact).toSucceed(0);
    expect(exact.value.count).toBe(length);
  },
);

test(
  'device.hot-reset-info.long',
  'of a longer buffer only the entries that there are get written',
  { covers: [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO], source: INFO, devices: ['igb', 'mf-a'] },
  ({ device, pci }) => {
    const used = HEADER + onTheBus(pci).length * ENTRY;
    for (const argsz of [used + 1, used + ENTRY, 1000]) {
      const { value } = tryGetHotResetInfo(device, argsz);
      expect([value.argsz, value.flags, value.count]).toEqual([argsz, 0, onTheBus(pci).length]);
      expect(value.bytes.subarray(used).every((byte) => byte === 0xee)).toBe(true);
    }
  },
);

test(
  'device.hot-reset-info.single',
  'behind a port of its own a device is reset alone, and named with its group',
  { covers: [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO], source: INFO, devices: SINGLE, peer: ['A11'] },
  ({ device, pci }) => {
    expect(listed(device)).toEqual([{ id: Number(pci.group), bdf: pci.bdf }]);
  },
);

test(
  'device.hot-reset-info.functions',
  'all functions behind the same port are named, each with its own group',
  {
    covers: [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_fill_devs()',
    devices: ['mf-a', 'mf-b', 'igb-multi-0', 'igb-multi-1', 'bridge-child-a', 'bridge-child-b'],
  },
  ({ device, pci }) => {
    const functions = listed(device);
    expect(functions.length).toBe(2);
    expect(functions).toEqual(onTheBus(pci));
    for (const { bdf, id } of functions) {
      expect(groupMembers(String(id)).map((member) => member.bdf)).toContain(bdf);
    }
  },
);

test(
  'device.hot-reset-info.unbound-sibling',
  'a function that is bound to no driver is named as well',
  {
    covers: [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO],
    source: INFO,
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
    needs: [OWN_MACHINE],
  },
  ({ device, bound, pci }) => {
    const sibling = bound('igb-multi-1');
    unbind(sibling);
    expect(listed(device)).toEqual(onTheBus(pci));
    expect(listed(device).map(({ bdf }) => bdf)).toContain(sibling.bdf);
  },
);

test(
  'device.hot-reset-info.bridge',
  'a bridge beside the device is named with all that is behind it, and forbids the reset',
  {
    covers: [
      VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
      VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.fails('ENOSPC'),
      VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL'),
    ],
    source: [
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_below_slot()',
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_resettable()',
    ],
    device: 'beside-switch',
    uses: ['ivshmem-2g'],
  },
  ({ device, group, pci, bound }) => {
    const behind = bound('ivshmem-2g');
    const downstream = behind.parent!;
    const all = [pci, downstream.parent!, downstream, behind].map((one) => one.bdf).sort();
    const ids = new Map(listed(device).map(({ bdf, id }) => [bdf, id]));
    expect([...ids.keys()]).toEqual(all);
    for (const one of [pci, behind]) expect(ids.get(one.bdf)).toBe(Number(one.group));
    const short = tryGetHotResetInfo(device, HEADER + all.length * ENTRY - 1);
    expect(short).toFailWith('ENOSPC');
    expect(short.value.count).toBe(all.length);
    enableDevice(device);
    const { region, offset } = scratchRegisters('edu');
    device.region(region).write32(offset, 0x4242_0000);
    const before = pci.config();
    expect(tryHotReset(device, [group.fd])).toFailWith('EINVAL');
    expect(pci.config().equals(before)).toBe(true);
    expect(device.region(region).read32(offset)).toBe(0x4242_0000);
  },
);
