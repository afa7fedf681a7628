import { existsSync } from 'node:fs';
import {
  CDEV,
  NO_IOMMU_ROLE,
  OWN_MACHINE,
  SLABINFO,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  bindAnew,
  bindIfBack,
  clearOverride,
  endpointsOfGroup,
  eventually,
  expect,
  expectNoKernelLeak,
  functionInRole,
  hasGroupNode,
  hotResetInfo,
  loadModule,
  moduleUsers,
  removeFunction,
  rescan,
  setModuleParameter,
  test,
  tryWriteAttribute,
  unbind,
  unloadModule,
  vfioDevName,
  type Requirement,
} from '../../../harness/testing/index.ts';

const CORE = 'drivers/vfio/pci/vfio_pci_core.c';
const ROUNDS = 100;

for (const [role, title] of [
  ['edu', 'a device'],
  ['igb', 'a physical function'],
] as const) {
  test(
    `group.leak.bind.${role}`,
    `${title} bound and unbound again and again costs the kernel no memory in the end`,
    {
      source: [
        `${CORE} vfio_pci_core_register_device(), vfio_pci_core_unregister_device()`,
        'drivers/vfio/vfio_main.c vfio_device_release()',
        'drivers/vfio/group.c vfio_group_release()',
      ],
      device: role,
      needs: [OWN_MACHINE, SLABINFO],
      timeoutMs: 600_000,
    },
    ({ pci, defer }) => {
      // The way to D3hot and back takes its time.
      defer(setModuleParameter('vfio_pci', 'disable_idle_d3', 'Y'));
      defer(() => unbind(pci));
      expectNoKernelLeak(ROUNDS, () => {
        for (let round = 0; round < ROUNDS; round++) bindAnew(pci, 'vfio-pci');
      });
    },
  );
}

test(
  'group.leak.iommu-group',
  'the IOMMU group of a device that VFIO had and that is removed goes with it',
  {
    source: [
      'drivers/vfio/group.c vfio_group_find_or_alloc(): iommu_group_put()',
      'drivers/vfio/group.c vfio_device_remove_group(): iommu_group_put()',
    ],
    device: 'edu-rp',
    needs: [OWN_MACHINE],
  },
  ({ pci, group, openDevice, defer }) => {
    const isThere = () => existsSync(`/sys/kernel/iommu_groups/${group.number}`);
    openDevice(group).close();
    group.close();
    expect(endpointsOfGroup(pci)).toHaveLength(1);
    expect(isThere()).toBe(true);
    defer(() => void eventually(() => bindIfBack('edu-rp')));
    defer(rescan);
    removeFunction(pci);
    expect(eventually(() => !isThere())).toBe(true);
  },
);

test(
  'group.leak.iommu-group-of-neighbour',
  'the IOMMU group of a device about which the owner of a neighbour has asked goes with the device',
  {
    source: 'drivers/vfio/iommufd.c vfio_iommufd_get_dev_id(): iommu_group_put()',
    covers: [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO],
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
    needs: [CDEV, OWN_MACHINE],
  },
  ({ openCdev, iommufd, bound, defer }) => {
    const device = openCdev();
    device.bind(iommufd());
    const neighbour = bound('igb-multi-1');
    const directory = `/sys/kernel/iommu_groups/${neighbour.group}`;
    expect(hotResetInfo(device).devices.map(({ bdf }) => bdf)).toContain(neighbour.bdf);
    expect(existsSync(directory)).toBe(true);
    defer(() => void eventually(() => bindIfBack('igb-multi-1')));
    defer(rescan);
    removeFunction(neighbour);
    expect(eventually(() => !existsSync(directory))).toBe(true);
  },
);

/** Modules of VFIO, each behind those that use it. */
const MODULES = ['vfio_pci', 'vfio_pci_core', 'vfio_iommu_type1', 'vfio'];

const UNLOADABLE_VFIO: Requirement = {
  name: 'VFIO as modules that nothing else uses',
  missing: () => {
    const users = moduleUsers('vfio');
    if (users === null) return 'VFIO is built in';
    return existsSync('/sys/module/mdev') ? 'mediated devices use VFIO' : null;
  },
};

test(
  'group.driver.unload-all',
  'once its devices are unbound VFIO can be unloaded altogether, and works when it is loaded again',
  {
    source: [
      'drivers/vfio/vfio_main.c vfio_cleanup()',
      'drivers/vfio/vfio_main.c vfio_device_release(): simple_release_fs()',
      'drivers/vfio/group.c vfio_group_cleanup()',
      'drivers/vfio/container.c vfio_container_cleanup()',
    ],
    device: 'edu',
    needs: [OWN_MACHINE, UNLOADABLE_VFIO],
  },
  ({ pci, openFreshGroup, containerWith, openDevice, defer }) => {
    const load = () => ['vfio-pci', 'vfio_iommu_type1'].forEach((name) => loadModule(name));
    defer(load);
    const use = () => {
      bindAnew(pci, 'vfio-pci');
      const group = openFreshGroup(pci.group!);
      const container = containerWith(group);
      const device = openDevice(group);
      expect(device.config.read16(0)).toBe(pci.vendor);
      device.close();
      group.close();
      container.close();
    };
    use();
    unbind(pci);
    for (const name of MODULES) {
      // The driver goes with all devices that are bound to it.
      if (moduleUsers(name) === null) continue;
      expect(
        eventually(() => moduleUsers(name) === 0),
        `users of ${name}`,
      ).toBe(true);
      unloadModule(name);
    }
    expect(existsSync('/dev/vfio/vfio')).toBe(false);
    expect(hasGroupNode(pci.group!)).toBe(false);
    load();
    use();
  },
);

test(
  'group.driver.no-iommu',
  'vfio-pci takes no device that is behind no IOMMU, and leaves it as it was',
  {
    source: [
      'drivers/vfio/group.c vfio_group_find_or_alloc()',
      `${CORE} vfio_pci_core_register_device(): out_power`,
    ],
    device: NO_IOMMU_ROLE,
    needs: [OWN_MACHINE],
    provokes: [/probe (with driver vfio-pci|of .*) failed with error -22/],
  },
  ({ defer }) => {
    const pci = functionInRole(NO_IOMMU_ROLE)!;
    expect(pci.group).toBe(null);
    defer(() => clearOverride(pci));
    expect(tryWriteAttribute(`${pci.path}/driver_override`, 'vfio-pci')).toSucceed();
    const power = () =>
      ['control', 'runtime_usage'].map((name) =>
        existsSync(`${pci.path}/power/${name}`) ? pci.attribute(`power/${name}`) : null,
      );
    const before = power();
    for (let again = 0; again < 3; again++) {
      const bind = '/sys/bus/pci/drivers/vfio-pci/bind';
      expect(tryWriteAttribute(bind, pci.bdf)).toFailWith('EINVAL');
      expect(pci.driver).toBe(null);
      expect([pci.group, vfioDevName(pci)]).toEqual([null, null]);
      expect(power()).toEqual(before);
    }
  },
);
