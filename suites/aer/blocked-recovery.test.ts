import {
  AerRegisters,
  Irqs,
  KernelErrors,
  OWN_MACHINE,
  PCI_COMMAND,
  PCI_ERR_UNCOR_STATUS,
  PCI_ERR_UNC_COMP_ABORT,
  PCI_ERR_UNC_MALF_TLP,
  Recoveries,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  Igb,
  bindTo,
  expect,
  kernelAtLeast,
  AER_INJECT,
  kernelModule,
  loadModule,
  replug,
  test,
  unbind,
  type TestContext,
} from '../../harness/testing/index.ts';

const NEEDS = {
  covers: [VFIO_DEVICE_SET_IRQS],
  source: ['drivers/pci/pcie/err.c pcie_do_recovery()', 'Documentation/PCI/pci-error-recovery.rst'],
  device: 'igb-multi-0',
  uses: ['igb-multi-1'],
  needs: [OWN_MACHINE, AER_INJECT],
};
/** The error itself; newer kernels also tell drivers that the recovery failed (perm_failure). */
const SIGNALS_OF_A_FAILURE = kernelAtLeast('6.18') ? 2 : 1;

/** Opens the device while its sibling has no driver that could agree to a recovery. */
function openBesideDriverless(context: TestContext) {
  const { bound, device, eventfd, pci } = context;
  const sibling = bound('igb-multi-1');
  unbind(sibling);
  const signal = eventfd();
  new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
  return { device, signal, pci, sibling, recoveries: new Recoveries(context) };
}

for (const reporter of ['own', 'sibling'] as const) {
  test(
    `aer.blocked.non-fatal.${reporter}`,
    'a function without a driver below the same port blocks the recovery: the user is told, and told again that it failed',
    NEEDS,
    (context) => {
      const { device, signal, pci, sibling, recoveries } = openBesideDriverless(context);
      const errors = new KernelErrors(context, reporter === 'own' ? pci : sibling);
      errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
      expect(recoveries.next()).toEqual({ port: pci.parent!.bdf, outcome: 'failed' });
      expect(signal.take()).toBe(SIGNALS_OF_A_FAILURE);
      expect(device.config.read16(0), 'the device was not touched').toBe(pci.vendor);
      const nic = new Igb(device);
      expect(nic.bar.load32(8)).not.toBe(0xffff_ffff);
      nic.unmap();
    },
  );
}

test(
  'aer.blocked.status-stays',
  'without a recovery the status of the error stays for the user to see and to clear',
  NEEDS,
  (context) => {
    const { device, pci, recoveries } = openBesideDriverless(context);
    const registers = new AerRegisters(device);
    new KernelErrors(context, pci).inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('failed');
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(PCI_ERR_UNC_COMP_ABORT);
    registers.write(PCI_ERR_UNCOR_STATUS, PCI_ERR_UNC_COMP_ABORT);
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(0);
  },
);

test(
  'aer.blocked.then-recovers',
  'once the sibling has a driver again, the next error is recovered from and signalled once',
  NEEDS,
  (context) => {
    const { device, signal, pci, sibling, recoveries } = openBesideDriverless(context);
    const registers = new AerRegisters(device);
    const errors = new KernelErrors(context, pci);
    errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('failed');
    signal.take();
    registers.write(PCI_ERR_UNCOR_STATUS, PCI_ERR_UNC_COMP_ABORT);
    bindTo(sibling, 'vfio-pci');
    errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('successful');
    expect(signal.take()).toBe(1);
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(0);
  },
);

test(
  'aer.blocked.fatal',
  'a fatal error resets the link even if the recovery is blocked, and the user gets the device back by a reset',
  NEEDS,
  (context) => {
    context.defer(() => replug('igb-multi-0', 'igb-multi-1'));
    const log = context.kernelLog();
    const { device, signal, pci, recoveries } = openBesideDriverless(context);
    const before = device.config.read(0x10, 24);
    new KernelErrors(context, pci).inject({ uncorrectable: PCI_ERR_UNC_MALF_TLP });
    expect(recoveries.next().outcome).toBe('failed');
    expect(signal.take()).toBe(SIGNALS_OF_A_FAILURE);
    expect(log.drain().some((line) => line.includes('link has been reset (0)'))).toBe(true);
    expect(device.config.read(0x10, 24)).toEqual(before);
    device.reset();
    const nic = new Igb(device);
    expect(device.config.read16(PCI_COMMAND) & 6).toBe(6);
    expect(nic.bar.load32(8)).not.toBe(0xffff_ffff);
    const vector = context.eventfd();
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable([vector]);
    nic.raise(0);
    expect(vector.soon()).toBe(1);
    msix.disable();
    nic.unmap();
  },
);

test(
  'aer.blocked.host-driver',
  "a driver of the host without error handlers below the same port blocks the recovery of the user's device",
  { ...NEEDS, needs: [...NEEDS.needs, kernelModule('pci-stub')] },
  (context) => {
    const { device, signal, pci, sibling, recoveries } = openBesideDriverless(context);
    loadModule('pci-stub');
    bindTo(sibling, 'pci-stub');
    context.defer(() => unbind(sibling));
    new KernelErrors(context, pci).inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('failed');
    expect(signal.take()).toBe(SIGNALS_OF_A_FAILURE);
    expect(device.config.read16(0)).toBe(pci.vendor);
  },
);

test(
  'aer.blocked.same-group',
  'a function without a driver blocks the recovery of its neighbour in the same group',
  { ...NEEDS, device: 'mf-a', uses: ['mf-b'] },
  (context) => {
    const { device, eventfd, pci, bound } = context;
    unbind(bound('mf-b'));
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    const recoveries = new Recoveries(context);
    new KernelErrors(context, pci).inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('failed');
    expect(signal.take()).toBe(SIGNALS_OF_A_FAILURE);
    expect(device.config.read16(0)).toBe(pci.vendor);
  },
);
