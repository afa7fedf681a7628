import {
  EDU_ACKNOWLEDGE,
  Irqs,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  bootGuest,
  eduDriver,
  expect,
  lineDriver,
  test,
  vectorDriver,
  type Guest,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { IN_GUEST } from './in-guest.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const HANDLER = `${INTRS} vfio_msihandler()`;
const SET_VECTOR = `${INTRS} vfio_msi_set_vector_signal()`;
const IRQFD = 'Documentation/virt/kvm/api.rst KVM_IRQFD';
const ROUTING = 'Documentation/virt/kvm/api.rst KVM_SET_GSI_ROUTING';
const ON_IGB = { covers: [VFIO_DEVICE_SET_IRQS], device: 'igb', ...IN_GUEST };

/** MSI-X vectors of the test's device, each connected to its own message of a guest. */
function connectedVectors(t: TestContext, guest: Guest) {
  const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
  const signals = guest.messages.map(() => t.eventfd());
  msix.enable(signals);
  for (const [n, signal] of signals.entries()) guest.messages[n]!.connect(signal);
  return { msix, signals };
}

/** How often the guest has seen each of its messages since the last look. */
const taken = (guest: Guest) => guest.messages.map((message) => message.take());

test(
  'irq.kvm.msi.arrives',
  'each of 50 MSIs that the device sends reaches the guest once',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [HANDLER, IRQFD],
    devices: ['edu', 'edu-rp'],
    ...IN_GUEST,
  },
  (t) => {
    const driver = lineDriver(t);
    const guest = bootGuest(t, { messages: 1 });
    const message = guest.messages[0]!;
    const signal = t.eventfd();
    new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX).enable([signal]);
    message.connect(signal);
    expect(message.quiet(), 'nothing was raised yet').toBe(0);
    for (let round = 0; round < 50; round++) {
      driver.raise();
      expect(message.soon(), `round ${round}`).toBe(1);
      driver.acknowledge();
    }
    expect(message.quiet()).toBe(0);
    expect(signal.poll(), 'taken by KVM').toBe(0);
  },
);

test(
  'irq.kvm.msix.each-vector',
  'each MSI-X vector of the device reaches the guest as its own message and as no other',
  { ...ON_IGB, source: [HANDLER, SET_VECTOR, ROUTING], devices: ['igb', 'igb-multi-1'] },
  (t) => {
    const driver = vectorDriver(t);
    const guest = bootGuest(t, { messages: 5 });
    connectedVectors(t, guest);
    for (const vector of [0, 1, 2, 3, 4, 4, 2, 0, 3, 1]) {
      driver.raise(vector);
      expect(guest.messages[vector]!.soon(), `vector ${vector}`).toBe(1);
      expect(taken(guest)).toEqual([0, 0, 0, 0, 0]);
      driver.acknowledge();
    }
    expect(guest.messages[0]!.quiet()).toBe(0);
    expect(taken(guest)).toEqual([0, 0, 0, 0, 0]);
  },
);

test(
  'irq.kvm.msix.e1000e',
  'each MSI-X vector of an e1000e reaches the guest as its own message',
  { ...ON_IGB, source: [HANDLER, SET_VECTOR], device: 'e1000e' },
  (t) => {
    const driver = vectorDriver(t);
    const guest = bootGuest(t, { messages: 5 });
    connectedVectors(t, guest);
    for (const vector of [3, 0, 4, 1, 2]) {
      driver.raise(vector);
      // The 82574's throttling timers may send a message twice.
      expect(guest.messages[vector]!.soon(), `vector ${vector}`).toBeGreaterThanOrEqual(1);
    }
  },
);

test(
  'irq.kvm.msix.loopback',
  'a trigger by the user reaches the guest as the interrupt of the device does',
  { ...ON_IGB, source: `${INTRS} vfio_pci_set_msi_trigger()` },
  (t) => {
    const guest = bootGuest(t, { messages: 3 });
    const { msix } = connectedVectors(t, guest);
    msix.loopback(1, 2);
    expect([guest.messages[1]!.soon(), guest.messages[2]!.soon()]).toEqual([1, 1]);
    expect(msix.tryBools([1, 0, 0], 'trigger')).toSucceed(0);
    expect(guest.messages[0]!.soon()).toBe(1);
    expect(guest.messages[0]!.quiet()).toBe(0);
    expect(taken(guest)).toEqual([0, 0, 0]);
  },
);

test(
  'irq.kvm.msix.rerouted',
  'a guest that moves its messages gets the interrupts of the device where they are now',
  { ...ON_IGB, source: [SET_VECTOR, ROUTING] },
  (t) => {
    const driver = vectorDriver(t);
    const guest = bootGuest(t, { messages: 3 });
    connectedVectors(t, guest);
    for (const targets of [
      [1, 2, 0],
      [0, 0, 2],
      [0, 1, 2],
    ]) {
      guest.routeMessages(targets);
      for (const [vector, target] of targets.entries()) {
        driver.raise(vector);
        expect(guest.messages[target]!.soon(), `${vector} as ${target}`).toBe(1);
        driver.acknowledge();
      }
      expect(taken(guest)).toEqual([0, 0, 0]);
    }
  },
);

test(
  'irq.kvm.msix.disconnect',
  'an irqfd taken away leaves the vector to the user, and one set again takes what is pending',
  { ...ON_IGB, source: [HANDLER, IRQFD] },
  (t) => {
    const driver = vectorDriver(t);
    const guest = bootGuest(t, { messages: 2 });
    const { signals } = connectedVectors(t, guest);
    guest.messages[0]!.disconnect(signals[0]!);
    for (let round = 0; round < 3; round++) {
      driver.raise(0);
      expect(signals[0]!.soon(), `round ${round}`).toBe(1);
      driver.acknowledge();
      driver.raise(1);
      expect(guest.messages[1]!.soon(), 'the other is still connected').toBe(1);
      driver.acknowledge();
    }
    expect(guest.messages[0]!.quiet()).toBe(0);
    driver.raise(0);
    guest.messages[0]!.connect(signals[0]!);
    expect(guest.messages[0]!.soon()).toBe(1);
  },
);

test(
  'irq.kvm.msix.disable-enable',
  'MSI-X disabled under a guest is silent, and enabled again with the same eventfds reaches it again',
  { ...ON_IGB, source: `${INTRS} vfio_msi_disable()` },
  (t) => {
    const driver = vectorDriver(t);
    const guest = bootGuest(t, { messages: 2 });
    const { msix, signals } = connectedVectors(t, guest);
    for (let round = 0; round < 3; round++) {
      msix.disable();
      driver.raise(0);
      expect(guest.messages[0]!.quiet(), `round ${round}`).toBe(0);
      guest.sendMessage(0);
      expect(guest.messages[0]!.soon(), 'the guest itself still listens').toBe(1);
      driver.acknowledge();
      msix.enable(signals);
      driver.raise(1);
      expect(guest.messages[1]!.soon()).toBe(1);
      driver.acknowledge();
      guest.messages[0]!.quiet();
    }
  },
);

test(
  'irq.kvm.msix.machine-closed',
  'a virtual machine that goes leaves the vectors to the user, and the next can have them',
  { ...ON_IGB, source: SET_VECTOR },
  (t) => {
    const driver = vectorDriver(t);
    const first = bootGuest(t, { messages: 2 });
    const { signals } = connectedVectors(t, first);
    first.close();
    driver.raise(1);
    expect(signals[1]!.soon()).toBe(1);
    driver.acknowledge();
    const next = bootGuest(t, { messages: 1 });
    next.messages[0]!.connect(signals[1]!);
    driver.raise(1);
    expect(next.messages[0]!.soon()).toBe(1);
    expect(signals[1]!.poll()).toBe(0);
  },
);

test(
  'irq.kvm.switch-type',
  'a guest gets the interrupts of the device by its line, then by message, and by its line again',
  { covers: [VFIO_DEVICE_SET_IRQS], source: INTRS, device: 'edu', ...IN_GUEST },
  (t) => {
    const edu = eduDriver(t);
    const guest = bootGuest(t, {
      messages: 1,
      device: { memory: edu.bar, acknowledge: EDU_ACKNOWLEDGE },
    });
    const [line, resample, message] = [t.eventfd(), t.eventfd(), t.eventfd()];
    guest.line.connect(line, resample);
    guest.messages[0]!.connect(message);
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    const msi = new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX);
    for (let round = 0; round < 3; round++) {
      intx.enable([line]);
      intx.unmaskBy(resample);
      edu.raise();
      expect(guest.line.soon(), `round ${round}`).toBe(1);
      intx.disable();
      msi.enable([message]);
      edu.raise();
      expect(guest.messages[0]!.soon(), `round ${round}`).toBe(1);
      edu.acknowledge();
      msi.disable();
      expect(guest.line.take()).toBe(0);
    }
  },
);
