import {
  OWN_MACHINE,
  PCI_CAP_ID_PM,
  PCI_PM_CTRL,
  allowVirtualFunctions,
  bindAnew,
  bindTo,
  eventually,
  expect,
  findCapability,
  kernelModule,
  loadModule,
  test,
  trySetVfs,
  virtualFunctions,
  type PciFunction,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIGURE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_sriov_configure()';
const NEEDS = { device: 'igb', needs: [OWN_MACHINE] };
const STATE_MASK = 3;
const D3HOT = 3;

/** The PF, bound afresh and allowed to have VFs; without VFs again after the test. */
function allowedPf(context: TestContext): PciFunction {
  const pci = allowVirtualFunctions(context);
  bindAnew(pci, 'vfio-pci');
  return pci;
}

test(
  'group.sriov.power-idle',
  'a PF that nobody has open is awake while it has VFs, and sleeps again when they are gone',
  { source: CONFIGURE, ...NEEDS },
  (context) => {
    const pf = allowedPf(context);
    const asleep = () => pf.attribute('power_state') === 'D3hot';
    for (let round = 0; round < 2; round++) {
      expect(eventually(asleep)).toBe(true);
      expect(trySetVfs(pf, 1)).toSucceed();
      expect(pf.attribute('power_state')).toBe('D0');
      expect(eventually(asleep, 100)).toBe(false);
      expect(trySetVfs(pf, 0)).toSucceed();
    }
    expect(eventually(asleep)).toBe(true);
  },
);

test(
  'group.sriov.power-user',
  'the user of a PF cannot put it to sleep while it has VFs',
  {
    source: [CONFIGURE, 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_set_power_state()'],
    ...NEEDS,
  },
  (context) => {
    const pf = allowedPf(context);
    const { device } = context;
    const { config } = device;
    const control = findCapability(config, PCI_CAP_ID_PM)! + PCI_PM_CTRL;
    const sleep = () => {
      config.write16(control, (config.read16(control) & ~STATE_MASK) | D3HOT);
      return config.read16(control) & STATE_MASK;
    };
    expect(sleep()).toBe(D3HOT);
    // Enabling VFs wakes the PF up.
    expect(trySetVfs(pf, 1)).toSucceed();
    expect(config.read16(control) & STATE_MASK).toBe(0);
    expect(sleep()).toBe(0);
    expect(pf.attribute('power_state')).toBe('D0');
    expect(trySetVfs(pf, 0)).toSucceed();
    expect(sleep()).toBe(D3HOT);
    config.write16(control, config.read16(control) & ~STATE_MASK);
    expect(config.read16(control) & STATE_MASK).toBe(0);
  },
);

test(
  'group.sriov.foreign-driver',
  'a VF that is bound to another driver than its PF is reported',
  {
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_bus_notifier()',
    ...NEEDS,
    needs: [OWN_MACHINE, kernelModule('pci-stub')],
  },
  (context) => {
    const log = context.kernelLog();
    const pf = allowedPf(context);
    loadModule('pci-stub');
    expect(trySetVfs(pf, 1)).toSucceed();
    const vf = virtualFunctions(pf)[0]!;
    bindTo(vf, 'pci-stub');
    const reported = log.drain().filter((line) => line.includes(' while PF bound to driver '));
    expect(reported).toHaveLength(1);
    expect(reported[0]).toContain(
      `VF ${vf.bdf} bound to driver pci-stub while PF bound to driver vfio-pci`,
    );
    bindTo(vf, 'vfio-pci');
    expect(log.drain().some((line) => line.includes(' while PF bound to driver '))).toBe(false);
  },
);
