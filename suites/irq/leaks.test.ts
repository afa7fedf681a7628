import {
  Irqs,
  IRQ_ACTIONS,
  OWN_MACHINE,
  Program,
  SLABINFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  expect,
  expectNoKernelLeak,
  fds,
  functionInRole,
  switchOnForVfioPci,
  test,
  vfio_irq_set,
  type Device,
  type Eventfd,
  type IrqAction,
  type TestContext,
} from '../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const VIRQFD = 'drivers/vfio/virqfd.c';
const ROUNDS = 1000;
const BAD_FD = 0x7fff_ffff;

/** One SET_IRQS of a round: no fds disables the index. */
interface Step {
  index: number;
  action?: IrqAction;
  start?: number;
  fds?: readonly number[];
}

interface Row {
  name: string;
  title: string;
  source: string | string[];
  /** What comes before the rounds. */
  prepare?(t: TestContext, signal: Eventfd): void;
  round(signal: Eventfd): Step[];
  /** Whether the last step of a round is refused. */
  isRefused?: boolean;
  /** Instead of the igb, with another that it uses. */
  device?: string;
  uses?: string[];
}

const { intx, msix, err, req } = {
  intx: VFIO_PCI_INTX_IRQ_INDEX,
  msix: VFIO_PCI_MSIX_IRQ_INDEX,
  err: VFIO_PCI_ERR_IRQ_INDEX,
  req: VFIO_PCI_REQ_IRQ_INDEX,
};
const enable =
  (index: number) =>
  ({ device }: TestContext, signal: Eventfd) =>
    new Irqs(device, index).enable([signal]);

const ROWS: Row[] = [
  {
    name: 'intx',
    title: 'INTx enabled and disabled',
    source: [`${INTRS} vfio_intx_enable()`, `${INTRS} vfio_intx_disable()`],
    round: ({ fd }) => [{ index: intx, fds: [fd] }, { index: intx }],
  },
  {
    name: 'intx-busy',
    title: 'INTx refused because its line is taken',
    source: `${INTRS} vfio_intx_enable()`,
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    prepare: (t) => {
      const pair = ['edu-pair-a', 'edu-pair-b'].map((role) => functionInRole(role)!);
      t.defer(switchOnForVfioPci('nointxmask', pair));
      new Irqs(t.openRole('edu-pair-b').device, intx).enable([t.eventfd()]);
    },
    round: ({ fd }) => [{ index: intx, fds: [fd] }],
    isRefused: true,
  },
  {
    name: 'unmask-eventfd',
    title: 'an unmask eventfd set and removed',
    source: [`${VIRQFD} vfio_virqfd_enable()`, `${VIRQFD} virqfd_shutdown()`],
    prepare: enable(intx),
    round: ({ fd }) => [
      { index: intx, action: 'unmask', fds: [fd] },
      { index: intx, action: 'unmask', fds: [-1] },
    ],
  },
  {
    name: 'unmask-eventfd-busy',
    title: 'an unmask eventfd refused because there is one',
    source: `${VIRQFD} vfio_virqfd_enable()`,
    prepare: (t, signal) => {
      enable(intx)(t, signal);
      new Irqs(t.device, intx).unmaskBy(t.eventfd());
    },
    round: ({ fd }) => [{ index: intx, action: 'unmask', fds: [fd] }],
    isRefused: true,
  },
  {
    name: 'unmask-eventfd-bad',
    title: 'an unmask eventfd refused because it is none',
    source: `${VIRQFD} vfio_virqfd_enable()`,
    prepare: enable(intx),
    round: () => [{ index: intx, action: 'unmask', fds: [BAD_FD] }],
    isRefused: true,
  },
  {
    name: 'vector',
    title: 'an MSI-X vector set, replaced and removed',
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    prepare: ({ device }, signal) => new Irqs(device, msix).enable([signal, signal]),
    round: ({ fd }) => [
      { index: msix, start: 1, fds: [fd] },
      { index: msix, start: 1, fds: [fd] },
      { index: msix, start: 1, fds: [-1] },
    ],
  },
  {
    name: 'vector-bad',
    title: 'an MSI-X vector refused because its eventfd is none',
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    prepare: enable(msix),
    round: () => [{ index: msix, fds: [BAD_FD] }],
    isRefused: true,
  },
  ...(
    [
      ['err', err],
      ['req', req],
    ] as const
  ).map(([name, index]) => ({
    name,
    title: `the ${name.toUpperCase()} eventfd set, replaced and removed`,
    source: `${INTRS} vfio_pci_set_ctx_trigger_single()`,
    round: ({ fd }: Eventfd): Step[] => [{ index, fds: [fd] }, { index, fds: [fd] }, { index }],
  })),
  {
    name: 'refused',
    title: 'a call refused after its array was read',
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_set_irqs()',
    round: ({ fd }) => [{ index: msix, action: 'mask', fds: [fd, fd, fd] }],
    isRefused: true,
  },
];

/** Adds one SET_IRQS to a program. */
function add(program: Program, device: Device, step: Step) {
  const { index, action = 'trigger', start = 0, fds: numbers } = step;
  const kind = numbers ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE;
  const data = fds(numbers ?? []);
  const header = vfio_irq_set.encode({
    argsz: 20 + data.length,
    flags: kind | IRQ_ACTIONS[action],
    index,
    start,
    count: numbers?.length ?? 0,
  });
  const argument = program.data(Buffer.concat([header, data]));
  return program.syscall('ioctl', device.fd, VFIO_DEVICE_SET_IRQS.request, argument);
}

for (const {
  name,
  title,
  source,
  prepare,
  round,
  isRefused = false,
  device = 'igb',
  uses,
} of ROWS) {
  test(
    `irq.leak.${name}`,
    `${title}, again and again, costs the kernel no memory in the end`,
    {
      covers: [VFIO_DEVICE_SET_IRQS],
      source,
      device,
      needs: [SLABINFO, ...(uses ? [OWN_MACHINE] : [])],
      ...(uses && { uses }),
      timeoutMs: 180_000,
    },
    (t) => {
      const signal = t.eventfd();
      prepare?.(t, signal);
      const program = new Program({ ops: isRefused ? ROUNDS : 8 });
      if (isRefused) {
        // A loop would end with the first refusal.
        const refs = Array.from({ length: ROUNDS }, () =>
          add(program, t.device, round(signal)[0]!),
        );
        expectNoKernelLeak(ROUNDS, () => program.run());
        expect(refs.filter((ref) => program.result(ref) >= 0)).toEqual([]);
        return;
      }
      const [first] = round(signal).map((step) => add(program, t.device, step));
      const loop = program.repeat(first!, ROUNDS);
      expectNoKernelLeak(ROUNDS, () => program.run());
      expect(program.count(loop)).toBe(ROUNDS);
    },
  );
}
