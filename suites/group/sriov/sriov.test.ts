import {
  BackgroundWrite,
  OWN_MACHINE,
  VFIO_GROUP_FLAGS_VIABLE,
  allowVirtualFunctions,
  bindAnew,
  bindTo,
  expect,
  hasGroupNode,
  kernelModule,
  loadModule,
  setModuleParameter,
  test,
  trySetVfs,
  tryWriteAttribute,
  unbind,
  virtualFunctions,
} from '../../../harness/testing/index.ts';

const CONFIGURE = [
  'drivers/vfio/pci/vfio_pci.c vfio_pci_sriov_configure()',
  'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_sriov_configure()',
];
const NEEDS = { device: 'igb', needs: [OWN_MACHINE] };
const NO_CHANNEL = /No device request channel registered/;

test(
  'group.sriov.not-enabled',
  'a PF on vfio-pci gets no VFs unless enable_sriov is set',
  { source: CONFIGURE[0]!, ...NEEDS },
  ({ pci, defer }) => {
    defer(setModuleParameter('vfio_pci', 'enable_sriov', 'N'));
    expect(trySetVfs(pci, 1)).toFailWith('ENOENT');
    expect(virtualFunctions(pci)).toEqual([]);
    expect(pci.number('sriov_numvfs')).toBe(0);
  },
);

test(
  'group.sriov.switched-off',
  'VFs cannot be taken away while enable_sriov is switched off, and can be when it is on again',
  { source: CONFIGURE[0]!, ...NEEDS },
  (context) => {
    const pf = allowVirtualFunctions(context);
    expect(trySetVfs(pf, 1)).toSucceed();
    const switchOn = setModuleParameter('vfio_pci', 'enable_sriov', 'N');
    context.defer(switchOn);
    expect(trySetVfs(pf, 0)).toFailWith('ENOENT');
    expect(virtualFunctions(pf)).toHaveLength(1);
    switchOn();
    expect(trySetVfs(pf, 0)).toSucceed();
    expect(virtualFunctions(pf)).toEqual([]);
  },
);

test(
  'group.sriov.enable',
  'with enable_sriov a PF gets as many VFs as asked for, each for a driver of its own',
  { source: CONFIGURE, peer: ['L11'], ...NEEDS },
  (context) => {
    const pf = allowVirtualFunctions(context);
    for (const count of [1, 3, pf.number('sriov_totalvfs')]) {
      expect(trySetVfs(pf, count)).toSucceed();
      expect(pf.number('sriov_numvfs')).toBe(count);
      expect(virtualFunctions(pf)).toHaveLength(count);
      expect(trySetVfs(pf, 0)).toSucceed();
      expect(pf.number('sriov_numvfs')).toBe(0);
      expect(virtualFunctions(pf)).toEqual([]);
    }
  },
);

test(
  'group.sriov.limits',
  'more VFs than there can be, and a second configuration on top of the first, are refused',
  { source: ['drivers/pci/iov.c sriov_numvfs_store()', ...CONFIGURE], ...NEEDS },
  (context) => {
    const pf = allowVirtualFunctions(context);
    expect(trySetVfs(pf, pf.number('sriov_totalvfs') + 1)).toFailWith('ERANGE');
    expect(virtualFunctions(pf)).toEqual([]);
    expect(trySetVfs(pf, 2)).toSucceed();
    expect(trySetVfs(pf, 1)).toFailWith('EBUSY');
    expect(virtualFunctions(pf)).toHaveLength(2);
    expect(trySetVfs(pf, 0)).toSucceed();
    expect(trySetVfs(pf, 1)).toSucceed();
  },
);

test(
  'group.sriov.captured',
  'the VFs of a PF on vfio-pci are kept from the drivers of the host',
  {
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_bus_notifier()',
    peer: ['L11'],
    ...NEEDS,
  },
  (context) => {
    const log = context.kernelLog();
    const pf = allowVirtualFunctions(context);
    expect(trySetVfs(pf, 2)).toSucceed();
    const vfs = virtualFunctions(pf);
    expect(vfs.map((vf) => vf.attribute('driver_override'))).toEqual(['vfio-pci', 'vfio-pci']);
    const captured = log.drain().filter((line) => line.includes('Captured SR-IOV VF'));
    expect(captured).toHaveLength(2);
    expect(captured[0]).toContain(pf.bdf);
    for (const vf of vfs) {
      expect(tryWriteAttribute('/sys/bus/pci/drivers_probe', vf.bdf)).toSucceed();
      expect(vf.driver).toBe('vfio-pci');
    }
  },
);

test(
  'group.sriov.other-capture',
  'the VFs of a PF on its own driver are captured by no other PF that is on vfio-pci',
  {
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_bus_notifier()',
    device: 'igb',
    uses: ['igb-multi-0'],
    needs: [OWN_MACHINE, kernelModule('igb')],
  },
  ({ bound, defer, pci }) => {
    expect(bound('igb').driver).toBe('vfio-pci');
    const host = bound('igb-multi-0');
    loadModule('igb');
    bindTo(host, 'igb');
    defer(() => bindTo(host, 'vfio-pci'));
    expect(trySetVfs(host, 1)).toSucceed();
    const [vf] = virtualFunctions(host);
    expect(vf!.attribute('driver_override')).toBe('(null)');
    expect(trySetVfs(host, 0)).toSucceed();
    expect(virtualFunctions(pci)).toEqual([]);
  },
);

test(
  'group.sriov.unbind-pf',
  'unbinding the PF removes its VFs',
  { source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_unregister_device()', ...NEEDS },
  (context) => {
    const pf = allowVirtualFunctions(context);
    expect(trySetVfs(pf, 2)).toSucceed();
    const vfs = virtualFunctions(pf);
    bindTo(vfs[0]!, 'vfio-pci');
    const { group } = vfs[0]!;
    unbind(pf);
    expect(virtualFunctions(pf)).toEqual([]);
    expect(vfs.map((vf) => vf.exists)).toEqual([false, false]);
    expect(hasGroupNode(group!)).toBe(false);
    bindTo(pf, 'vfio-pci');
    expect(trySetVfs(pf, 1)).toSucceed();
  },
);

test(
  'group.sriov.vf-in-use',
  'VFs are not taken away before the last one that is open is closed',
  {
    source: ['drivers/vfio/vfio_main.c vfio_unregister_group_dev()', ...CONFIGURE],
    ...NEEDS,
    provokes: [NO_CHANNEL],
  },
  (context) => {
    const writer = context.actor();
    const { pci, containerWith, openDevice, defer } = context;
    defer(setModuleParameter('vfio_pci', 'enable_sriov', 'N'));
    loadModule('igb');
    bindTo(pci, 'igb');
    defer(() => bindTo(pci, 'vfio-pci'));
    expect(trySetVfs(pci, 1)).toSucceed();
    const vf = virtualFunctions(pci)[0]!;
    bindTo(vf, 'vfio-pci');
    const group = context.openFreshGroup(vf.group!);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    containerWith(group);
    // The PF is not on VFIO: no token is asked for, and one that is given is refused.
    const token = '00000000-0000-4000-8000-000000000001';
    expect(group.tryGetDevice(`${vf.bdf} vf_token=${token}`)).toFailWith('EINVAL');
    const device = openDevice(group, vf.bdf);
    const removing = new BackgroundWrite(writer, `${pci.path}/sriov_numvfs`, '0');
    expect(removing.blocks()).toBe(true);
    expect(vf.exists).toBe(true);
    expect(device.info().num_regions).toBeGreaterThan(0);
    device.close();
    expect(removing.ends()).toBe(true);
    expect(vf.exists).toBe(false);
    expect(group.tryGetStatus()).toFailWith('ENODEV');
  },
);

test(
  'group.sriov.pf-with-vfs',
  'vfio-pci takes no PF that has VFs already',
  {
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_register_device()',
    device: 'nvme-vfs',
    needs: [OWN_MACHINE, kernelModule('nvme')],
    provokes: [/Cannot bind to PF with SR-IOV enabled/, /probe .* failed with error -16/],
  },
  ({ pci, defer }) => {
    loadModule('nvme');
    bindTo(pci, 'nvme');
    defer(() => {
      bindAnew(pci, 'nvme');
      trySetVfs(pci, 0);
      bindTo(pci, 'vfio-pci');
    });
    expect(trySetVfs(pci, 1)).toSucceed();
    // This driver leaves the VFs behind when it goes.
    unbind(pci);
    expect(virtualFunctions(pci)).toHaveLength(1);
    expect(tryWriteAttribute(`${pci.path}/driver_override`, 'vfio-pci')).toSucceed();
    const bind = '/sys/bus/pci/drivers/vfio-pci/bind';
    expect(tryWriteAttribute(bind, pci.bdf)).toFailWith('EBUSY');
    expect(pci.driver).toBe(null);
    expect(hasGroupNode(pci.group!)).toBe(false);
  },
);
