import {
  Irqs,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_MSIX_IRQ_INDEX,
  allocatedMessages,
  expect,
  interruptHandlers,
  test,
  vectorDriver,
  type Eventfd,
  type TestContext,
} from '../../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const RAISING = ['igb', 'igb-multi-1'];
const MANY = ['igb', 'e1000e', 'nvme', 'virtio-net', 'xhci', 'vmxnet3'];

const take = (signals: readonly Eventfd[]) => signals.map((signal) => signal.take());

/** The MSI-X index of the test's device with an eventfd for every vector, not enabled yet. */
function vectors(t: TestContext) {
  const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
  const { count } = t.device.irqInfo(VFIO_PCI_MSIX_IRQ_INDEX);
  const signals = Array.from({ length: count }, () => t.eventfd());
  const names = (...numbers: number[]) => numbers.map((n) => `vfio-msix[${n}](${t.pci.bdf})`);
  return { msix, count, signals, names };
}

const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => from + index);
/** 1 where `chosen` says so. */
const ones = (count: number, chosen: readonly number[]) =>
  range(0, count).map((vector) => (chosen.includes(vector) ? 1 : 0));

test(
  'irq.msix.each-vector',
  'each MSI-X vector signals its own eventfd and no other',
  {
    covers: [VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_GET_IRQ_INFO],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    devices: RAISING,
    peer: ['S6', 'S26', 'L6'],
  },
  (t) => {
    const { msix, count, signals } = vectors(t);
    const driver = vectorDriver(t);
    msix.enable(signals);
    for (const vector of [...range(0, count), ...range(0, count).reverse()]) {
      driver.raise(vector);
      expect(signals[vector]!.soon(), `vector ${vector}`).toBe(1);
      expect(take(signals)).toEqual(ones(count, []));
      driver.acknowledge();
    }
  },
);

test(
  'irq.msix.each-vector.e1000e',
  'each of the five vectors of an e1000e signals its own eventfd and no other',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    device: 'e1000e',
    peer: ['S26'],
  },
  (t) => {
    const { msix, count, signals } = vectors(t);
    expect(count).toBe(5);
    const driver = vectorDriver(t);
    msix.enable(signals);
    const seen = new Set<number>();
    for (const vector of [3, 0, 4, 1, 2]) {
      driver.raise(vector);
      // The 82574's throttling timers may send a message twice.
      expect(signals[vector]!.soon(), `vector ${vector}`).toBeGreaterThanOrEqual(1);
      seen.add(vector);
      for (const other of range(0, count)) {
        if (!seen.has(other)) expect(signals[other]!.take(), `vector ${other}`).toBe(0);
      }
    }
  },
);

test(
  'irq.msix.every-count',
  'MSI-X can be enabled with any number of vectors from one to the size of the table',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [`${INTRS} vfio_msi_enable()`, `${INTRS} vfio_msi_set_block()`],
    devices: MANY,
  },
  (t) => {
    const { msix, count, signals, names } = vectors(t);
    const counts = count > 16 ? [1, 2, 15, 16, count - 1, count] : range(1, count + 1);
    for (const enabled of counts) {
      msix.enable(signals.slice(0, enabled));
      expect(interruptHandlers(t.pci.bdf).sort()).toEqual(names(...range(0, enabled)).sort());
      expect(allocatedMessages(t.pci)).toBe(enabled);
      msix.loopback(0, enabled);
      expect(take(signals)).toEqual(ones(count, range(0, enabled)));
      msix.disable();
      expect(interruptHandlers(t.pci.bdf)).toEqual([]);
      expect(allocatedMessages(t.pci)).toBe(0);
    }
  },
);

test(
  'irq.msix.sparse',
  'vectors with fd -1 get no interrupt; the others work',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_msi_set_block()`, devices: RAISING },
  (t) => {
    const { msix, count, signals, names } = vectors(t);
    const driver = vectorDriver(t);
    const used = [0, 2, count - 1];
    msix.enable(signals.map((signal, vector) => (used.includes(vector) ? signal : null)));
    expect(interruptHandlers(t.pci.bdf).sort()).toEqual(names(...used).sort());
    msix.loopback(0, count);
    expect(take(signals)).toEqual(ones(count, used));
    for (const vector of range(0, count)) driver.raise(vector);
    for (const vector of used) expect(signals[vector]!.soon(), `vector ${vector}`).toBe(1);
    expect(signals[1]!.quiet()).toBe(0);
    expect(take(signals)).toEqual(ones(count, []));
  },
);

test(
  'irq.msix.start-above-zero',
  'MSI-X first enabled for vectors above zero serves just those',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_pci_set_msi_trigger()`,
    devices: RAISING,
  },
  (t) => {
    const { msix, count, signals, names } = vectors(t);
    const driver = vectorDriver(t);
    msix.enable(signals.slice(2, 4), 2);
    expect(interruptHandlers(t.pci.bdf).sort()).toEqual(names(2, 3));
    expect(allocatedMessages(t.pci), 'all up to the last').toBe(4);
    for (const vector of [0, 1, 2, 3]) driver.raise(vector);
    expect([signals[2]!.soon(), signals[3]!.soon()]).toEqual([1, 1]);
    expect(signals[0]!.quiet()).toBe(0);
    expect(take(signals)).toEqual(ones(count, []));
  },
);

test(
  'irq.msix.change-one',
  'the eventfd of one vector can be changed while the others go on firing',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    devices: RAISING,
  },
  (t) => {
    const { msix, count, signals } = vectors(t);
    const driver = vectorDriver(t);
    msix.enable(signals);
    for (const vector of range(0, count)) {
      const fresh = t.eventfd();
      msix.enable([fresh], vector);
      for (const other of range(0, count)) driver.raise(other);
      expect(fresh.soon(), `vector ${vector}, the new eventfd`).toBe(1);
      for (const other of range(0, count)) {
        if (other !== vector) expect(signals[other]!.soon(), `vector ${other}`).toBe(1);
      }
      expect(signals[vector]!.quiet(), 'the old eventfd').toBe(0);
      msix.enable([signals[vector]!], vector);
      driver.acknowledge();
    }
    expect(interruptHandlers(t.pci.bdf)).toHaveLength(count);
    expect(allocatedMessages(t.pci)).toBe(count);
  },
);

test(
  'irq.msix.same-eventfd-again',
  'a vector lets go of the bypass of its eventfd, which can then be registered again',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msi_set_vector_signal(): irq_bypass_unregister_producer()`,
    devices: MANY,
  },
  (t) => {
    const log = t.kernelLog();
    const { msix } = vectors(t);
    const signal = t.eventfd();
    msix.enable([signal]);
    msix.enable([signal]);
    msix.enable([null]);
    msix.enable([signal]);
    msix.disable();
    msix.enable([signal]);
    msix.disable();
    // The kernel says so of an eventfd that is registered already.
    expect(log.drain().filter((record) => record.includes('irq bypass producer'))).toEqual([]);
  },
);

test(
  'irq.msix.remove-one',
  'fd -1 takes one vector out, and its eventfd can be set again',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    devices: RAISING,
  },
  (t) => {
    const { msix, count, signals, names } = vectors(t);
    const driver = vectorDriver(t);
    msix.enable(signals);
    msix.enable([-1], 1);
    msix.enable([-2], 1);
    expect(interruptHandlers(t.pci.bdf).sort()).toEqual(
      names(...range(0, count).filter((vector) => vector !== 1)).sort(),
    );
    driver.raise(1);
    driver.raise(2);
    expect(signals[2]!.soon()).toBe(1);
    expect(signals[1]!.quiet()).toBe(0);
    driver.acknowledge();
    msix.loopback(0, count);
    expect(take(signals)).toEqual(
      ones(
        count,
        range(0, count).filter((vector) => vector !== 1),
      ),
    );
    msix.enable([signals[1]!], 1);
    driver.raise(1);
    expect(signals[1]!.soon()).toBeGreaterThanOrEqual(1);
    expect(allocatedMessages(t.pci)).toBe(count);
  },
);

test(
  'irq.msix.remove-all',
  'MSI-X stays enabled when the last vector has lost its eventfd',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_msi_set_block()`, device: 'igb' },
  (t) => {
    const { msix, count, signals } = vectors(t);
    msix.enable(signals);
    msix.enable(signals.map(() => null));
    expect(interruptHandlers(t.pci.bdf)).toEqual([]);
    expect(allocatedMessages(t.pci)).toBe(count);
    expect(msix.tryPlain('trigger', 0, count)).toSucceed(0);
    expect(take(signals)).toEqual(ones(count, []));
    msix.enable(signals);
    msix.loopback(0, count);
    expect(take(signals)).toEqual(signals.map(() => 1));
  },
);

test(
  'irq.msix.loopback-range',
  'a trigger without data signals the vectors of its range and no other',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_pci_set_msi_trigger()`,
    devices: MANY,
    peer: ['S6'],
  },
  (t) => {
    const { msix, count, signals } = vectors(t);
    msix.enable(signals);
    expect(take(signals), 'none before').toEqual(ones(count, []));
    const last = Math.min(count, 5);
    for (const start of range(0, last)) {
      for (const end of new Set([start + 1, last])) {
        msix.loopback(start, end - start);
        expect(take(signals), `${start} to ${end}`).toEqual(ones(count, range(start, end)));
      }
    }
    for (const vector of [0, count - 1]) {
      msix.loopback(vector, 1);
      expect(take(signals)).toEqual(ones(count, [vector]));
    }
  },
);

test(
  'irq.msix.loopback-bools',
  'a trigger with bools signals the vectors whose bool is true, counted from start',
  {
    covers: [VFIO_DEVICE_SET_IRQS.flag('VFIO_IRQ_SET_DATA_BOOL')],
    source: `${INTRS} vfio_pci_set_msi_trigger()`,
    device: 'igb',
  },
  (t) => {
    const { msix, count, signals } = vectors(t);
    msix.enable(signals);
    expect(msix.tryBools([1, 0, 1, 0, 0, 0, 0, 0, 0, 1], 'trigger')).toSucceed(0);
    expect(take(signals)).toEqual(ones(count, [0, 2, 9]));
    expect(msix.tryBools([0, 0xff, 0x80, 0, 2], 'trigger', 3)).toSucceed(0);
    expect(take(signals)).toEqual(ones(count, [4, 5, 7]));
    expect(msix.tryBools([1], 'trigger', 9)).toSucceed(0);
    expect(take(signals)).toEqual(ones(count, [9]));
    expect(
      msix.tryBools(
        range(0, count).map(() => 0),
        'trigger',
      ),
    ).toSucceed(0);
    expect(take(signals)).toEqual(ones(count, []));
    msix.enable([null, null], 1);
    expect(
      msix.tryBools(
        range(0, count).map(() => 1),
        'trigger',
      ),
    ).toSucceed(0);
    expect(take(signals)).toEqual(ones(count, [0, ...range(3, count)]));
  },
);

test(
  'irq.msix.enable-fails-whole',
  'an enable that fails at any vector enables none and leaves the device free for another type',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EBADF')],
    source: [`${INTRS} vfio_msi_set_block()`, `${INTRS} vfio_msi_disable()`],
    devices: MANY,
  },
  (t) => {
    const { msix, count, signals } = vectors(t);
    for (const bad of new Set([0, 1, count - 1])) {
      const set = signals.map((signal, vector) => (vector === bad ? 0x7fff_ffff : signal));
      expect(msix.tryEventfds(set), `vector ${bad}`).toFailWith('EBADF');
      expect(interruptHandlers(t.pci.bdf)).toEqual([]);
      expect(allocatedMessages(t.pci)).toBe(0);
      expect(msix.tryPlain('trigger', 0, count), 'not enabled').toFailWith('EINVAL');
    }
    msix.enable(signals);
    msix.loopback(0, count);
    expect(take(signals)).toEqual(signals.map(() => 1));
  },
);

test(
  'irq.msix.change-fails',
  'a change that fails at one vector clears the vectors of its range and leaves the others',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EBADF')],
    source: `${INTRS} vfio_msi_set_block()`,
    devices: RAISING,
  },
  (t) => {
    const { msix, count, signals, names } = vectors(t);
    const driver = vectorDriver(t);
    msix.enable(signals);
    expect(msix.tryEventfds([t.eventfd(), 0x7fff_ffff, t.eventfd()], 1)).toFailWith('EBADF');
    // Vector 3 was not reached: it keeps what it had.
    const left = range(0, count).filter((vector) => vector !== 1 && vector !== 2);
    expect(interruptHandlers(t.pci.bdf).sort()).toEqual(names(...left).sort());
    msix.loopback(0, count);
    expect(take(signals)).toEqual(ones(count, left));
    driver.raise(0);
    expect(signals[0]!.soon()).toBe(1);
    msix.enable([signals[1]!, signals[2]!], 1);
    driver.acknowledge();
    driver.raise(1);
    driver.raise(2);
    expect([signals[1]!.soon(), signals[2]!.soon()]).toEqual([1, 1]);
  },
);
