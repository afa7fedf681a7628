import {
  Irqs,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  expect,
  test,
  type Eventfd,
  type IrqAction,
} from '../../harness/testing/index.ts';

const SOURCE = 'drivers/vfio/pci/vfio_pci_intrs.c vfio_pci_set_irqs_ioctl()';

/** What the kernel answers to each kind of data, for one interrupt (start 0, count 1): errno or `ok`. */
interface Answers {
  none: string;
  bool: string;
  eventfd: string;
}

interface Row {
  index: number;
  name: keyof typeof INDEXES;
  action: IrqAction;
  disabled: Answers;
  enabled: Answers;
}

const all = (answer: string): Answers => ({ none: answer, bool: answer, eventfd: answer });
const NEVER = { disabled: all('ENOTTY'), enabled: all('ENOTTY') };
/** DATA_EVENTFD enables; the loopback needs something enabled. */
const VECTORS = {
  disabled: { none: 'EINVAL', bool: 'EINVAL', eventfd: 'ok' },
  enabled: all('ok'),
};
/** A loopback by bools without an eventfd has nobody to tell, and no error. */
const NOTICES = {
  disabled: { none: 'EINVAL', bool: 'ok', eventfd: 'ok' },
  enabled: all('ok'),
};

const INDEXES = {
  intx: VFIO_PCI_INTX_IRQ_INDEX,
  msi: VFIO_PCI_MSI_IRQ_INDEX,
  msix: VFIO_PCI_MSIX_IRQ_INDEX,
  err: VFIO_PCI_ERR_IRQ_INDEX,
  req: VFIO_PCI_REQ_IRQ_INDEX,
};

function answersOf(
  name: keyof typeof INDEXES,
  action: IrqAction,
): Pick<Row, 'disabled' | 'enabled'> {
  if (action === 'trigger') return name === 'err' || name === 'req' ? NOTICES : VECTORS;
  if (name !== 'intx') return NEVER;
  const eventfd = action === 'unmask' ? 'ok' : 'ENOTTY';
  return { disabled: all('EINVAL'), enabled: { none: 'ok', bool: 'ok', eventfd } };
}

/** As in the names of the header. */
const UPPER = { intx: 'INTX', msi: 'MSI', msix: 'MSIX', err: 'ERR', req: 'REQ' } as const;

const ROWS: Row[] = (Object.keys(INDEXES) as (keyof typeof INDEXES)[]).flatMap((name) =>
  (['mask', 'unmask', 'trigger'] as const).map((action) => ({
    name,
    index: INDEXES[name],
    action,
    ...answersOf(name, action),
  })),
);

/** One call with each kind of data, each from a fresh `state`. */
function answers(irqs: Irqs, action: IrqAction, signal: Eventfd, state: () => void): Answers {
  const outcome = (call: () => ReturnType<Irqs['tryPlain']>) => {
    state();
    const answer = call();
    return answer.errno ?? (answer.result === 0 ? 'ok' : `result ${answer.result}`);
  };
  return {
    none: outcome(() => irqs.tryPlain(action)),
    bool: outcome(() => irqs.tryBools([1], action)),
    eventfd: outcome(() => irqs.tryEventfds([signal], 0, action)),
  };
}

for (const { name, index, action, disabled, enabled } of ROWS) {
  test(
    `irq.set.matrix.${name}.${action}`,
    `${action} of the ${name.toUpperCase()} index takes the data that its state allows`,
    {
      covers: [
        VFIO_DEVICE_SET_IRQS.value(`VFIO_PCI_${UPPER[name]}_IRQ_INDEX`),
        VFIO_DEVICE_SET_IRQS.flag('VFIO_IRQ_SET_DATA_NONE'),
        VFIO_DEVICE_SET_IRQS.fails('EINVAL'),
        VFIO_DEVICE_SET_IRQS.fails('ENOTTY'),
      ],
      source: SOURCE,
      device: 'igb',
    },
    ({ device, eventfd }) => {
      const irqs = new Irqs(device, index);
      const signal = eventfd();
      // Refused if nothing is enabled.
      const disable = () =>
        expect([null, 'EINVAL']).toContain(irqs.tryPlain('trigger', 0, 0).errno);
      const enable = () => {
        disable();
        irqs.enable([signal]);
      };
      expect(answers(irqs, action, eventfd(), disable), 'while disabled').toEqual(disabled);
      expect(answers(irqs, action, eventfd(), enable), 'while enabled').toEqual(enabled);
    },
  );
}

/** Calls with start 0 and count 0, from disabled and from enabled. */
const COUNT_ZERO: { name: keyof typeof INDEXES; disabled: Answers; enabled: Answers }[] = [
  {
    name: 'intx',
    disabled: all('EINVAL'),
    enabled: { none: 'ok', bool: 'EINVAL', eventfd: 'EINVAL' },
  },
  {
    name: 'msi',
    disabled: { none: 'EINVAL', bool: 'EINVAL', eventfd: 'ERANGE' },
    enabled: all('ok'),
  },
  {
    name: 'msix',
    disabled: { none: 'EINVAL', bool: 'EINVAL', eventfd: 'ERANGE' },
    enabled: all('ok'),
  },
  {
    name: 'err',
    disabled: all('EINVAL'),
    enabled: { none: 'ok', bool: 'EINVAL', eventfd: 'EINVAL' },
  },
  {
    name: 'req',
    disabled: all('EINVAL'),
    enabled: { none: 'ok', bool: 'EINVAL', eventfd: 'EINVAL' },
  },
];

for (const { name, disabled, enabled } of COUNT_ZERO) {
  test(
    `irq.set.count-zero.${name}`,
    `count 0 without data disables the ${name.toUpperCase()} index; with data it changes nothing`,
    {
      covers: [VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_SET_IRQS.fails('EINVAL')],
      source: SOURCE,
      device: 'igb',
    },
    ({ device, eventfd }) => {
      const irqs = new Irqs(device, INDEXES[name]);
      const signal = eventfd();
      const outcome = (answer: ReturnType<Irqs['tryPlain']>) => answer.errno ?? 'ok';
      const calls = (): Answers => ({
        bool: outcome(irqs.tryBools([], 'trigger')),
        eventfd: outcome(irqs.tryEventfds([])),
        none: outcome(irqs.tryPlain('trigger', 0, 0)),
      });
      expect(calls(), 'while disabled').toEqual(disabled);
      irqs.enable([signal]);
      expect(outcome(irqs.tryBools([], 'trigger'))).toBe(enabled.bool);
      expect(outcome(irqs.tryEventfds([]))).toBe(enabled.eventfd);
      expect(signal.take()).toBe(0);
      irqs.loopback();
      expect(signal.take(), 'still enabled').toBe(1);
      expect(outcome(irqs.tryPlain('trigger', 0, 0))).toBe(enabled.none);
      expect(irqs.tryPlain('trigger'), 'no longer enabled').toFailWith('EINVAL');
      expect(signal.take()).toBe(0);
    },
  );
}

test(
  'irq.set.intx-count-zero-mask',
  'INTx is masked and unmasked with start 0 and count 1 only',
  { covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')], source: SOURCE, device: 'igb' },
  ({ device, eventfd }) => {
    const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([eventfd()]);
    for (const action of ['mask', 'unmask'] as const) {
      expect(intx.tryPlain(action, 0, 0)).toFailWith('EINVAL');
      expect(intx.tryBools([], action)).toFailWith('EINVAL');
      expect(intx.tryEventfds([], 0, action)).toFailWith('EINVAL');
      expect(intx.tryPlain(action, 1, 0)).toFailWith('EINVAL');
      expect(intx.tryPlain(action)).toSucceed(0);
    }
  },
);
