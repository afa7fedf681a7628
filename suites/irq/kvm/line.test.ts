import {
  EDU_ACKNOWLEDGE,
  VFIO_DEVICE_SET_IRQS,
  bootGuest,
  deviceDisIntx,
  eduDriver,
  eventually,
  expect,
  lineDriver,
  test,
  type Guest,
  type InterruptDevice,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { LINE_DEVICES, enabledIntx } from '../intx/enabled-intx.ts';
import { IN_GUEST } from './in-guest.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const HANDLER = `${INTRS} vfio_intx_handler()`;
const UNMASK = `${INTRS} vfio_pci_intx_unmask_handler()`;
const VIRQFD = 'drivers/vfio/virqfd.c virqfd_wakeup()';
const RESAMPLE = 'Documentation/virt/kvm/api.rst KVM_IRQFD: KVM_IRQFD_FLAG_RESAMPLE';
const BY_EVENTFD = [
  VFIO_DEVICE_SET_IRQS.flag('VFIO_IRQ_SET_ACTION_UNMASK'),
  VFIO_DEVICE_SET_IRQS.flag('VFIO_IRQ_SET_DATA_EVENTFD'),
];

/** INTx of the test's device as the line of a guest, whose end of interrupt unmasks it. */
function connectedLine(t: TestContext, guest: Guest) {
  const { intx, signal } = enabledIntx(t);
  const resample = t.eventfd();
  intx.unmaskBy(resample);
  guest.line.connect(signal, resample);
  return { intx, signal, resample };
}

/** Raises INTx and waits until the interrupt was taken, which masks it. */
function raise({ pci }: Pick<TestContext, 'pci'>, driver: InterruptDevice): void {
  driver.raise();
  expect(
    eventually(() => deviceDisIntx(pci)),
    'the interrupt is taken and masked',
  ).toBe(true);
}

test(
  'irq.kvm.intx.arrives',
  'INTx of the device reaches the guest by irqfd, is masked until the guest ends it, and can be raised again',
  {
    covers: BY_EVENTFD,
    source: [HANDLER, VIRQFD, RESAMPLE],
    devices: LINE_DEVICES,
    ...IN_GUEST,
  },
  (t) => {
    const driver = lineDriver(t);
    const guest = bootGuest(t);
    const { signal, resample } = connectedLine(t, guest);
    expect(guest.line.quiet(), 'nothing was raised yet').toBe(0);
    for (let round = 0; round < 5; round++) {
      raise(t, driver);
      driver.acknowledge();
      expect(signal.quiet(), 'taken by KVM').toBe(0);
      expect(deviceDisIntx(t.pci), 'masked while the guest has not ended it').toBe(true);
      expect(guest.line.soon(), `round ${round}`).toBe(1);
      expect(deviceDisIntx(t.pci), 'unmasked by the guest').toBe(false);
      expect(resample.poll(), 'taken by VFIO').toBe(0);
    }
    expect(guest.line.quiet()).toBe(0);
  },
);

test(
  'irq.kvm.intx.still-high',
  'a guest that ends the interrupt while the line is high is interrupted again, until the device is acknowledged',
  {
    covers: BY_EVENTFD,
    source: [UNMASK, VIRQFD, RESAMPLE],
    devices: LINE_DEVICES,
    ...IN_GUEST,
  },
  (t) => {
    const driver = lineDriver(t);
    const guest = bootGuest(t);
    connectedLine(t, guest);
    driver.raise();
    for (let round = 0; round < 5; round++) {
      expect(guest.line.soon(), `round ${round}`).toBeGreaterThanOrEqual(1);
    }
    driver.acknowledge();
    // Unmasked is what found the line low: no interrupt is under way any more.
    const isUnmasked = () => {
      guest.line.quiet();
      return !deviceDisIntx(t.pci);
    };
    expect(eventually(isUnmasked), 'the last end of interrupt unmasks').toBe(true);
    expect(guest.line.quiet()).toBe(0);
    raise(t, driver);
    driver.acknowledge();
    expect(guest.line.soon()).toBe(1);
  },
);

test(
  'irq.kvm.intx.guest-acknowledges',
  'a guest that has the BAR of the device acknowledges it there and sees each of 50 interrupts once',
  {
    covers: BY_EVENTFD,
    source: [HANDLER, UNMASK, 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_mmap_page_fault()'],
    device: 'edu',
    ...IN_GUEST,
  },
  (t) => {
    const edu = eduDriver(t);
    const guest = bootGuest(t, {
      device: { memory: edu.bar, acknowledge: EDU_ACKNOWLEDGE },
    });
    expect(guest.machine.tryAdd(t.group.fd)).toSucceed(0);
    connectedLine(t, guest);
    for (let round = 0; round < 50; round++) {
      edu.raise();
      expect(guest.line.soon(), `round ${round}`).toBe(1);
      expect(edu.interruptStatus(), 'acknowledged by the guest').toBe(0);
    }
    expect(guest.line.quiet()).toBe(0);
  },
);

test(
  'irq.kvm.intx.unmask-removed',
  'without the unmask eventfd the end of interrupt in the guest unmasks nothing, and the signal stays there',
  {
    covers: BY_EVENTFD,
    source: `${INTRS} vfio_pci_set_intx_unmask()`,
    device: 'edu',
    ...IN_GUEST,
  },
  (t) => {
    const edu = eduDriver(t);
    const guest = bootGuest(t);
    const { intx, resample } = connectedLine(t, guest);
    intx.unmaskBy(null);
    edu.raise();
    expect(guest.line.soon()).toBe(1);
    expect(guest.line.quiet(), 'high, but masked').toBe(0);
    expect(deviceDisIntx(t.pci)).toBe(true);
    // A signal that waits already unmasks at once: the line is high.
    intx.unmaskBy(resample);
    expect(guest.line.soon()).toBeGreaterThanOrEqual(1);
  },
);

test(
  'irq.kvm.intx.disconnect',
  'an irqfd taken away leaves the interrupt to the user and its mask to him, and one set again takes what is pending',
  { covers: BY_EVENTFD, source: [HANDLER, RESAMPLE], device: 'edu', ...IN_GUEST },
  (t) => {
    const edu = eduDriver(t);
    const guest = bootGuest(t);
    const { signal, resample } = connectedLine(t, guest);
    guest.line.disconnect(signal);
    for (let round = 0; round < 3; round++) {
      raise(t, edu);
      edu.acknowledge();
      expect(signal.soon(), `round ${round}`).toBe(1);
      expect(guest.line.quiet()).toBe(0);
      expect(deviceDisIntx(t.pci)).toBe(true);
      resample.signal();
      expect(deviceDisIntx(t.pci)).toBe(false);
    }
    raise(t, edu);
    edu.acknowledge();
    guest.line.connect(signal, resample);
    expect(guest.line.soon()).toBe(1);
    expect(deviceDisIntx(t.pci)).toBe(false);
  },
);

test(
  'irq.kvm.intx.disable-enable',
  'INTx disabled under a guest is silent, and enabled again with the same eventfds reaches it again',
  { covers: BY_EVENTFD, source: `${INTRS} vfio_intx_disable()`, device: 'edu', ...IN_GUEST },
  (t) => {
    const edu = eduDriver(t);
    const guest = bootGuest(t);
    const { intx, signal, resample } = connectedLine(t, guest);
    raise(t, edu);
    edu.acknowledge();
    intx.disable();
    // It was signalled before: the guest sees it, and its end unmasks what is no more.
    expect(guest.line.soon()).toBe(1);
    expect(resample.take()).toBe(1);
    intx.enable([signal]);
    intx.unmaskBy(resample);
    for (let round = 0; round < 3; round++) {
      raise(t, edu);
      edu.acknowledge();
      expect(guest.line.soon(), `round ${round}`).toBe(1);
    }
  },
);

test(
  'irq.kvm.intx.machine-closed',
  'a virtual machine that goes while it has the interrupt leaves the device to its user',
  { covers: BY_EVENTFD, source: [HANDLER, UNMASK], device: 'edu', ...IN_GUEST },
  (t) => {
    const edu = eduDriver(t);
    const guest = bootGuest(t);
    const { intx, signal, resample } = connectedLine(t, guest);
    raise(t, edu);
    guest.close();
    intx.unmask();
    expect(signal.soon(), 'the line is still high').toBe(1);
    edu.acknowledge();
    resample.signal();
    expect(deviceDisIntx(t.pci)).toBe(false);
    // Another machine takes its place.
    const next = bootGuest(t);
    next.line.connect(signal, resample);
    raise(t, edu);
    edu.acknowledge();
    expect(next.line.soon()).toBe(1);
  },
);
