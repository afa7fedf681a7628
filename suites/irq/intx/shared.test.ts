import {
  Edu,
  Irqs,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_INTX_IRQ_INDEX,
  deviceDisIntx,
  expect,
  test,
  type TestContext,
} from '../../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
/** Two functions of one slot, both on pin A. */
const PAIR = { device: 'edu-pair-a', uses: ['edu-pair-b'] };

/** Both functions on the line with an eventfd each. */
function pair(t: TestContext): [Sharer, Sharer] {
  const sharer = (role: string): Sharer => {
    const { device, pci } = t.openRole(role);
    const edu = new Edu(device);
    t.defer(() => {
      edu.acknowledge();
      edu.unmap();
    });
    const signal = t.eventfd();
    const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    return { edu, pci, intx, signal };
  };
  return [sharer('edu-pair-a'), sharer('edu-pair-b')];
}

interface Sharer {
  edu: Edu;
  pci: { config(): Buffer };
  intx: Irqs;
  signal: ReturnType<TestContext['eventfd']>;
}

test(
  'irq.intx.shared.own-eventfd',
  'of two devices on one line the one that raised it is signalled and masked, the other is not',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_intx_handler()`, ...PAIR },
  (t) => {
    const [a, b] = pair(t);
    for (const [raiser, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const masked = (sharer: Sharer) => deviceDisIntx(sharer.pci);
      raiser.edu.raise();
      expect(raiser.signal.soon()).toBe(1);
      expect(other.signal.quiet()).toBe(0);
      expect([masked(raiser), masked(other)]).toEqual([true, false]);
      raiser.edu.acknowledge();
      raiser.intx.unmask();
      expect([masked(raiser), masked(other)]).toEqual([false, false]);
    }
  },
);

test(
  'irq.intx.shared.both',
  'two devices that raise one line together are both signalled, and unmasked one by one',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_intx_handler()`, ...PAIR },
  (t) => {
    const [a, b] = pair(t);
    a.edu.raise();
    b.edu.raise();
    expect([a.signal.soon(), b.signal.soon()]).toEqual([1, 1]);
    a.intx.unmask();
    expect(a.signal.soon()).toBe(1);
    expect(b.signal.quiet()).toBe(0);
    a.edu.acknowledge();
    a.intx.unmask();
    expect([a.signal.quiet(), b.signal.take()]).toEqual([0, 0]);
    b.intx.unmask();
    expect(b.signal.soon()).toBe(1);
    b.edu.acknowledge();
    b.intx.unmask();
    expect([a.signal.quiet(), b.signal.take()]).toEqual([0, 0]);
  },
);

test(
  'irq.intx.shared.masked-neighbour',
  'a device that is masked does not keep its neighbour on the line from interrupting',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_pci_intx_mask()`, ...PAIR },
  (t) => {
    const [a, b] = pair(t);
    a.intx.mask();
    a.edu.raise();
    for (let round = 0; round < 5; round++) {
      b.edu.raise();
      expect(b.signal.soon(), `round ${round}`).toBe(1);
      b.edu.acknowledge();
      b.intx.unmask();
    }
    expect(a.signal.take()).toBe(0);
    a.intx.unmask();
    expect(a.signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.shared.disable-one',
  'disabling INTx of one device leaves the line to the other',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_intx_disable()`, ...PAIR },
  (t) => {
    const [a, b] = pair(t);
    a.intx.disable();
    b.edu.raise();
    expect(b.signal.soon()).toBe(1);
    b.edu.acknowledge();
    b.intx.unmask();
    a.intx.enable([a.signal]);
    a.edu.raise();
    expect(a.signal.soon()).toBe(1);
    expect(b.signal.quiet()).toBe(0);
  },
);
