import {
  Edu,
  Irqs,
  OWN_MACHINE,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  deviceDisIntx,
  eduDriver,
  expect,
  functionInRole,
  interruptHandlers,
  setDisIntx,
  test,
  switchOnForVfioPci,
  type TestContext,
} from '../../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
/** Its line is shared with the function edu-pair-b and no other device. */
const ROLE = 'edu-pair-a';
const NEIGHBOUR = 'edu-pair-b';
const OPTIONS = { device: ROLE, uses: [NEIGHBOUR], needs: [OWN_MACHINE] };
const UNLAZY = ['8b9f128947dd'];

/** Must come before anything that binds the device. */
function hideDisIntx(t: TestContext): void {
  t.defer(switchOnForVfioPci('nointxmask', [functionInRole(ROLE)!, functionInRole(NEIGHBOUR)!]));
}

test(
  'irq.intx.no-disintx.automask',
  'without DisINTx INTx is masked at the interrupt controller: it fires, stays masked, fires again after an unmask',
  {
    ...OPTIONS,
    covers: [VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_GET_IRQ_INFO],
    source: `${INTRS} vfio_intx_handler()`,
    fixes: UNLAZY,
    since: '6.12',
  },
  (t) => {
    hideDisIntx(t);
    const edu = eduDriver(t);
    const signal = t.eventfd();
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    expect(t.device.irqInfo(VFIO_PCI_INTX_IRQ_INDEX).count).toBe(1);
    intx.enable([signal]);
    for (let round = 0; round < 5; round++) {
      edu.raise();
      expect(signal.soon(), `round ${round}`).toBe(1);
      expect(signal.quiet()).toBe(0);
      expect(deviceDisIntx(t.pci), 'not by DisINTx').toBe(false);
      intx.unmask();
      expect(signal.soon(), 'the line is still high').toBe(1);
      edu.acknowledge();
      intx.unmask();
      expect(signal.quiet()).toBe(0);
    }
  },
);

test(
  'irq.intx.no-disintx.mask',
  'without DisINTx the mask of the user holds INTx back until the unmask by call or eventfd',
  {
    ...OPTIONS,
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [`${INTRS} vfio_pci_intx_mask()`, `${INTRS} vfio_pci_intx_unmask_handler()`],
    since: '6.12',
  },
  (t) => {
    hideDisIntx(t);
    const edu = eduDriver(t);
    const [signal, unmask] = [t.eventfd(), t.eventfd()];
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    intx.unmaskBy(unmask);
    for (const step of [() => intx.unmask(), () => unmask.signal()]) {
      intx.mask();
      intx.mask();
      edu.raise();
      expect(signal.quiet()).toBe(0);
      step();
      expect(signal.soon()).toBe(1);
      edu.acknowledge();
      step();
      expect(signal.quiet()).toBe(0);
      edu.raise();
      expect(signal.soon(), 'one unmask for two masks').toBe(1);
      edu.acknowledge();
      step();
    }
  },
);

test(
  'irq.intx.no-disintx.config',
  'without DisINTx the bit that the user writes masks INTx all the same, and the device keeps its own',
  {
    ...OPTIONS,
    covers: [],
    source: [
      'drivers/vfio/pci/vfio_pci_config.c vfio_basic_config_write()',
      `${INTRS} vfio_pci_intx_mask()`,
    ],
    since: '6.12',
  },
  (t) => {
    hideDisIntx(t);
    const edu = eduDriver(t);
    const signal = t.eventfd();
    setDisIntx(t.device, true);
    expect(deviceDisIntx(t.pci)).toBe(false);
    setDisIntx(t.device, false);
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    setDisIntx(t.device, true);
    edu.raise();
    expect(signal.quiet()).toBe(0);
    expect(deviceDisIntx(t.pci)).toBe(false);
    setDisIntx(t.device, false);
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.no-disintx.enabled-masked',
  'without DisINTx INTx enabled while the user has DisINTx set does not fire before it is cleared',
  {
    ...OPTIONS,
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_intx_enable()`,
    fixes: ['CVE-2024-27437', 'fe9a7082684e'],
  },
  (t) => {
    hideDisIntx(t);
    const edu = eduDriver(t);
    const signal = t.eventfd();
    setDisIntx(t.device, true);
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    edu.raise();
    expect(signal.quiet()).toBe(0);
    setDisIntx(t.device, false);
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    intx.disable();
    intx.enable([signal]);
    edu.raise();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.no-disintx.enabled-masked-unused',
  'without DisINTx a line that was enabled with DisINTx set, and never raised, is switched on when it is cleared',
  { ...OPTIONS, covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_intx_enable()` },
  (t) => {
    hideDisIntx(t);
    const edu = eduDriver(t);
    const signal = t.eventfd();
    setDisIntx(t.device, true);
    new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX).enable([signal]);
    setDisIntx(t.device, false);
    expect(signal.quiet()).toBe(0);
    edu.raise();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.no-disintx.exclusive',
  'without DisINTx a line is not shared: the second device gets EBUSY and can have it later',
  {
    ...OPTIONS,
    covers: [VFIO_DEVICE_SET_IRQS.fails('EBUSY')],
    source: `${INTRS} vfio_intx_enable()`,
    fixes: ['CVE-2024-38632', '82b951e6fbd3'],
  },
  (t) => {
    hideDisIntx(t);
    const edu = eduDriver(t);
    const [signal, other] = [t.eventfd(), t.eventfd()];
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    const neighbour = t.openRole(NEIGHBOUR);
    const second = new Irqs(neighbour.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    for (let round = 0; round < 3; round++) {
      expect(second.tryEventfds([other])).toFailWith('EBUSY');
      expect(interruptHandlers(neighbour.pci.bdf)).toEqual([]);
      expect(second.tryPlain('trigger'), 'not enabled').toFailWith('EINVAL');
      expect(second.tryPlain('mask')).toFailWith('EINVAL');
    }
    edu.raise();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    // The failure left the second free for another type, and for INTx once the line is.
    const msi = new Irqs(neighbour.device, VFIO_PCI_MSI_IRQ_INDEX);
    msi.enable([other]);
    msi.disable();
    intx.disable();
    second.enable([other]);
    const neighbourEdu = new Edu(neighbour.device);
    t.defer(() => {
      neighbourEdu.acknowledge();
      neighbourEdu.unmap();
    });
    neighbourEdu.raise();
    expect(other.soon()).toBe(1);
  },
);

test(
  'irq.intx.no-disintx.disable-while-masked',
  'without DisINTx INTx disabled while masked works when it is enabled again',
  {
    ...OPTIONS,
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [`${INTRS} vfio_intx_disable()`, `${INTRS} vfio_intx_enable()`],
  },
  (t) => {
    hideDisIntx(t);
    const edu = eduDriver(t);
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    for (let round = 0; round < 4; round++) {
      const signal = t.eventfd();
      intx.enable([signal]);
      if (round % 2 === 1) intx.mask();
      else {
        edu.raise();
        expect(signal.soon(), `round ${round}`).toBe(1);
        edu.acknowledge();
      }
      intx.disable();
    }
    const signal = t.eventfd();
    intx.enable([signal]);
    edu.raise();
    expect(signal.soon()).toBe(1);
  },
);
