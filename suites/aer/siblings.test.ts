import {
  Irqs,
  KernelErrors,
  OWN_MACHINE,
  PCI_ERR_COR_RCVR,
  PCI_ERR_UNC_COMP_ABORT,
  PCI_ERR_UNC_MALF_TLP,
  Recoveries,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_ERR_IRQ_INDEX,
  expect,
  functionInRole,
  AER_INJECT,
  replug,
  test,
  type Device,
  type Eventfd,
  type PciFunction,
  type TestContext,
} from '../../harness/testing/index.ts';

const NEEDS = {
  covers: [VFIO_DEVICE_SET_IRQS],
  source: [
    'drivers/pci/pcie/err.c pcie_do_recovery()',
    'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_aer_err_detected()',
  ],
  needs: [OWN_MACHINE, AER_INJECT],
};
const MF = { ...NEEDS, device: 'mf-a', uses: ['mf-b'] };
const GROUPS = { ...NEEDS, device: 'igb-multi-0', uses: ['igb-multi-1'] };
/** Since then devices that are no PCIe devices, like edu, have an error interrupt too. */
const ANY_DEVICE = '7.0';

/** Puts an eventfd on the errors of each device. */
function listen(context: TestContext, ...devices: Device[]): () => number[] {
  const signals: Eventfd[] = devices.map((device) => {
    const signal = context.eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    return signal;
  });
  return () => signals.map((signal) => signal.take());
}

/** Lets `pci` report an uncorrectable error; the port below which all recovered. */
function report(context: TestContext, pci: PciFunction, kind: number): string {
  const recoveries = new Recoveries(context);
  new KernelErrors(context, pci).inject({ uncorrectable: kind });
  const { outcome, port } = recoveries.next();
  expect(outcome).toBe('successful');
  return port;
}

for (const [name, pair] of [
  ['function', MF],
  ['group', GROUPS],
] as const) {
  const [sibling] = pair.uses as [string];
  for (const [severity, kind] of [
    ['non-fatal', PCI_ERR_UNC_COMP_ABORT],
    ['fatal', PCI_ERR_UNC_MALF_TLP],
  ] as const) {
    for (const reporter of ['first', 'second'] as const) {
      test(
        `aer.siblings.${name}.${severity}.${reporter}`,
        `a ${severity} error of one function signals the users of all functions below the port once, ${
          name === 'function' ? 'in one group' : 'whichever their groups'
        }`,
        pair,
        (context) => {
          context.defer(() => {
            if (severity === 'fatal') replug(pair.device, sibling);
          });
          const other = context.openRole(sibling);
          const take = listen(context, context.device, other.device);
          const source = reporter === 'first' ? context.pci : other.pci;
          expect(report(context, source, kind)).toBe(context.pci.parent!.bdf);
          expect(take()).toEqual([1, 1]);
        },
      );
    }
  }
}

test(
  'aer.siblings.correctable',
  'a correctable error of one function tells neither its user nor that of its sibling',
  MF,
  (context) => {
    const { device, pci, openRole } = context;
    const sibling = openRole('mf-b');
    const take = listen(context, device, sibling.device);
    new KernelErrors(context, sibling.pci).inject({ correctable: PCI_ERR_COR_RCVR });
    // The recovery from a second error ends after the first was handled.
    report(context, pci, PCI_ERR_UNC_COMP_ABORT);
    expect(take()).toEqual([1, 1]);
  },
);

test(
  'aer.siblings.closed',
  'an error below a port reaches the open device also if its sibling is bound but not open',
  MF,
  (context) => {
    context.bound('mf-b');
    const take = listen(context, context.device);
    report(context, functionInRole('mf-b')!, PCI_ERR_UNC_COMP_ABORT);
    expect(take()).toEqual([1]);
  },
);

for (const [severity, kind] of [
  ['non-fatal', PCI_ERR_UNC_COMP_ABORT],
  ['fatal', PCI_ERR_UNC_MALF_TLP],
] as const) {
  test(
    `aer.siblings.port.${severity}`,
    `a ${severity} error of the root port signals the users of all functions below it once`,
    GROUPS,
    (context) => {
      context.defer(() => {
        if (severity === 'fatal') replug('igb-multi-0', 'igb-multi-1');
      });
      const { device, pci, openRole } = context;
      const take = listen(context, device, openRole('igb-multi-1').device);
      expect(report(context, pci.parent!, kind)).toBe(pci.parent!.bdf);
      expect(take()).toEqual([1, 1]);
    },
  );
}

test(
  'aer.siblings.other-port',
  'an error below one port does not reach the user of a device below another',
  { ...NEEDS, device: 'igb', uses: ['e1000e', 'mf-a'] },
  (context) => {
    const { device, pci, openRole } = context;
    const take = listen(context, device, openRole('e1000e').device, openRole('mf-a').device);
    report(context, pci, PCI_ERR_UNC_COMP_ABORT);
    expect(take()).toEqual([1, 0, 0]);
  },
);

test(
  'aer.siblings.switch-port',
  "an error of a switch's downstream port reaches the user below it and not the one next to it",
  { ...NEEDS, device: 'switch-edu-a', uses: ['switch-edu-b', 'switch-port-a'], since: ANY_DEVICE },
  (context) => {
    const { device, openRole } = context;
    const take = listen(context, device, openRole('switch-edu-b').device);
    const port = functionInRole('switch-port-a')!;
    expect(report(context, port, PCI_ERR_UNC_COMP_ABORT)).toBe(port.bdf);
    expect(take()).toEqual([1, 0]);
  },
);

test(
  'aer.siblings.switch',
  "an error of a switch's upstream port reaches the users below all its ports",
  { ...NEEDS, device: 'switch-edu-a', uses: ['switch-edu-b', 'switch'], since: ANY_DEVICE },
  (context) => {
    const { device, openRole } = context;
    const take = listen(context, device, openRole('switch-edu-b').device);
    const above = functionInRole('switch')!;
    expect(report(context, above, PCI_ERR_UNC_COMP_ABORT)).toBe(above.parent!.bdf);
    expect(take()).toEqual([1, 1]);
  },
);

test(
  'aer.siblings.both-report',
  'errors of two functions, one after the other, are two signals for both users',
  GROUPS,
  (context) => {
    const { device, pci, openRole } = context;
    const other = openRole('igb-multi-1');
    const take = listen(context, device, other.device);
    report(context, pci, PCI_ERR_UNC_COMP_ABORT);
    expect(take()).toEqual([1, 1]);
    report(context, other.pci, PCI_ERR_UNC_COMP_ABORT);
    expect(take()).toEqual([1, 1]);
  },
);
