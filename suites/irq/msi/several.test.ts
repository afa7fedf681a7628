import {
  Irqs,
  PCI_CAP_ID_MSI,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_ENABLE,
  PCI_MSI_FLAGS_QSIZE,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_PCI_MSI_IRQ_INDEX,
  allocatedMessages,
  expect,
  findCapability,
  interruptHandlers,
  test,
  type Eventfd,
  type TestContext,
} from '../../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const VECTORS = 16;
const OPTIONS = { covers: [VFIO_DEVICE_SET_IRQS], device: 'xhci-msi' };

const take = (signals: readonly Eventfd[]) => signals.map((signal) => signal.take());
/** 1 where `chosen` says so. */
const ones = (chosen: readonly number[]) =>
  Array.from({ length: VECTORS }, (_, vector) => (chosen.includes(vector) ? 1 : 0));
const upTo = (count: number) => Array.from({ length: count }, (_, vector) => vector);

/** The MSI index, an eventfd for every vector, and the control register as the device has it. */
function open(t: TestContext) {
  const msi = new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX);
  const at = findCapability(t.device.config, PCI_CAP_ID_MSI)! + PCI_MSI_FLAGS;
  return {
    msi,
    at,
    signals: upTo(VECTORS).map(() => t.eventfd()),
    /** The messages that the device may send. */
    enabled: () => 1 << ((t.pci.config().readUInt16LE(at) & PCI_MSI_FLAGS_QSIZE) >> 4),
    names: (...vectors: number[]) => vectors.map((n) => `vfio-msi[${n}](${t.pci.bdf})`).sort(),
    handlers: () => interruptHandlers(t.pci.bdf).sort(),
  };
}

/** Multi-message MSI needs interrupt remapping (x86): else the kernel says how many vectors there are. */
function enableAll(t: TestContext, msi: Irqs, signals: readonly Eventfd[]): boolean {
  const answer = msi.tryEventfds(signals);
  if (answer.result === 0) return true;
  expect(answer).toSucceed(1);
  expect(allocatedMessages(t.pci), 'nothing is enabled then').toBe(0);
  return false;
}

test(
  'irq.msi.several.info',
  'a device with several MSI messages has as many interrupts, and their number is fixed by the enable',
  {
    ...OPTIONS,
    covers: [VFIO_DEVICE_GET_IRQ_INFO],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_get_irq_count()',
  },
  ({ device }) => {
    expect(device.irqInfo(VFIO_PCI_MSI_IRQ_INDEX)).toMatchObject({
      count: VECTORS,
      flags: VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE,
    });
  },
);

test(
  'irq.msi.several.every-count',
  'MSI can be enabled with any number of vectors, each of which signals its own eventfd',
  { ...OPTIONS, source: [`${INTRS} vfio_msi_enable()`, `${INTRS} vfio_msi_set_block()`] },
  (t) => {
    const { msi, signals, enabled, names, handlers } = open(t);
    for (const count of [1, 2, 3, 4, 5, 8, 9, 16]) {
      if (!enableAll(t, msi, signals.slice(0, count))) continue;
      expect(handlers(), `${count} vectors`).toEqual(names(...upTo(count)));
      expect(allocatedMessages(t.pci)).toBe(count);
      expect(enabled()).toBe(2 ** Math.ceil(Math.log2(count)));
      msi.loopback(0, count);
      expect(take(signals)).toEqual(ones(upTo(count)));
      for (const vector of upTo(count)) {
        msi.loopback(vector);
        expect(take(signals)).toEqual(ones([vector]));
      }
      msi.disable();
      expect([handlers(), allocatedMessages(t.pci)]).toEqual([[], 0]);
    }
  },
);

test(
  'irq.msi.several.queue-size',
  'no more messages can be enabled in the capability than vectors were, rounded up to a power of two',
  { ...OPTIONS, source: `${CONFIG} vfio_msi_config_write()` },
  (t) => {
    const { msi, at, signals, enabled } = open(t);
    const { config } = t.device;
    for (const [count, messages] of [
      [1, 1],
      [2, 2],
      [3, 4],
      [4, 4],
      [7, 8],
      [16, 16],
    ] as const) {
      if (!enableAll(t, msi, signals.slice(0, count))) continue;
      const most = Math.log2(messages);
      for (let size = 0; size < 8; size++) {
        const rest = config.read16(at) & ~PCI_MSI_FLAGS_QSIZE;
        config.write16(at, rest | PCI_MSI_FLAGS_ENABLE | (size << 4));
        const what = `2^${size} of ${count}`;
        expect((config.read16(at) & PCI_MSI_FLAGS_QSIZE) >> 4, what).toBe(Math.min(size, most));
        expect(enabled(), what).toBe(2 ** Math.min(size, most));
      }
      msi.disable();
    }
  },
);

test(
  'irq.msi.several.part',
  'vectors of MSI can be set, replaced and taken out one by one, from any start',
  { ...OPTIONS, source: `${INTRS} vfio_msi_set_vector_signal()` },
  (t) => {
    const { msi, signals, names, handlers } = open(t);
    if (!enableAll(t, msi, signals.slice(0, 8))) return;
    msi.enable([null, signals[9]!], 2);
    expect(handlers()).toEqual(names(0, 1, 3, 4, 5, 6, 7));
    msi.loopback(0, 8);
    expect(take(signals)).toEqual(ones([0, 1, 4, 5, 6, 7, 9]));
    expect(msi.tryBools([1, 0, 1], 'trigger', 3)).toSucceed(0);
    expect(take(signals)).toEqual(ones([5, 9]));
    msi.enable([signals[2]!, signals[3]!], 2);
    msi.loopback(0, 8);
    expect(take(signals)).toEqual(ones(upTo(8)));
  },
);

test(
  'irq.msi.several.start',
  'MSI first enabled for vectors above zero has all messages up to the last and serves just those set',
  { ...OPTIONS, source: `${INTRS} vfio_pci_set_msi_trigger()` },
  (t) => {
    const { msi, signals, enabled, names, handlers } = open(t);
    const answer = msi.tryEventfds([signals[5]!, signals[6]!], 5);
    // Without interrupt remapping there is one vector.
    if (answer.result === 1) return;
    expect(answer).toSucceed(0);
    expect(handlers()).toEqual(names(5, 6));
    expect([allocatedMessages(t.pci), enabled()]).toEqual([7, 8]);
    msi.loopback(0, 7);
    expect(take(signals)).toEqual(ones([5, 6]));
  },
);

test(
  'irq.msi.several.no-resize',
  'vectors above those that MSI was enabled with are refused, and the others go on',
  {
    ...OPTIONS,
    covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')],
    source: `${INTRS} vfio_msi_alloc_irq()`,
  },
  (t) => {
    const { msi, signals, names, handlers } = open(t);
    if (!enableAll(t, msi, signals.slice(0, 2))) return;
    expect(msi.tryEventfds([signals[2]!], 2)).toFailWith('EINVAL');
    expect(msi.tryEventfds([signals[15]!], 15)).toFailWith('EINVAL');
    expect(handlers()).toEqual(names(0, 1));
    expect(allocatedMessages(t.pci)).toBe(2);
    msi.loopback(0, 2);
    expect(take(signals)).toEqual(ones([0, 1]));
  },
);

test(
  'irq.msi.several.enable-fails-whole',
  'an enable of MSI that fails at any vector enables none',
  {
    ...OPTIONS,
    covers: [VFIO_DEVICE_SET_IRQS.fails('EBADF')],
    source: [`${INTRS} vfio_msi_set_block()`, `${INTRS} vfio_msi_disable()`],
  },
  (t) => {
    const { msi, signals, handlers } = open(t);
    if (!enableAll(t, msi, signals)) return;
    msi.disable();
    for (const bad of [0, 1, VECTORS - 1]) {
      const set = signals.map((signal, vector) => (vector === bad ? 0x7fff_ffff : signal));
      expect(msi.tryEventfds(set), `vector ${bad}`).toFailWith('EBADF');
      expect([handlers(), allocatedMessages(t.pci)]).toEqual([[], 0]);
    }
    expect(enableAll(t, msi, signals)).toBe(true);
  },
);
