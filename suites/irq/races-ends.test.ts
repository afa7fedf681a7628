import {
  EDU_ACKNOWLEDGE,
  EDU_RAISE,
  IOMMU_FAULT,
  Irqs,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  SIGKILL,
  VFIO_DEVICE_SET_IRQS,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  eduDriver,
  expect,
  fds,
  interruptHandlers,
  Program,
  runParallel,
  test,
  vectorDriver,
  type Data,
  type TestContext,
} from '../../harness/testing/index.ts';
import { ENABLE, many, raising, setIrqs } from './race-programs.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';

/** On an emulator that shares its processor. */
const TIMEOUT_MS = 180_000;
/** How often a thread opens and closes the device, which takes the kernel a while. */
const OPENINGS = 20;
/** More rounds than a process does before it is killed. */
const ENDLESS = 10_000_000;

function littleEndian(program: Program, value: number, bytes: 2 | 4): Data {
  const data = program.data(bytes);
  data.bytes.writeUIntLE(value, 0, bytes);
  return data;
}

/**
 * Opens the test's edu, lets it interrupt by MSI, and closes it at once, again and again. A line that is left high
 * by a close would keep the processor busy with nobody to lower it.
 */
function openingAndClosing({ group, pci }: TestContext, signal: number): Program {
  const index = VFIO_PCI_MSI_IRQ_INDEX;
  const probe = group.getDevice(pci.bdf);
  const command = probe.config.info.offset + BigInt(PCI_COMMAND);
  const bar = probe.region(0).info.offset;
  probe.close();
  return many((program) => {
    const name = program.data(pci.bdf);
    const device = program.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, name);
    const write = (at: bigint, value: number, bytes: 2 | 4) =>
      program.syscall('pwrite', device, littleEndian(program, value, bytes), bytes, at);
    write(command, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    setIrqs(program, device, { flags: ENABLE, index, count: 1, data: fds([signal]) });
    write(bar + BigInt(EDU_RAISE), 1, 4);
    write(bar + BigInt(EDU_ACKNOWLEDGE), 0xffff_ffff, 4);
    program.syscall('close', device);
  }, OPENINGS);
}

test(
  'irq.race.close.msi',
  'a device that two threads open, let interrupt and close at once is left without a handler, and works',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_disable()',
    device: 'edu',
    timeoutMs: TIMEOUT_MS,
    // A vector that is set anew has no address for a moment (kernel/irq/msi.c msi_domain_deactivate()), and edu's
    // cannot be masked meanwhile: what the other thread raises then is sent to address 0.
    provokes: [IOMMU_FAULT],
  },
  (t) => {
    const [raced, signal] = [t.eventfd(), t.eventfd()];
    runParallel([1, 2].map(() => openingAndClosing(t, raced.fd)));
    expect(interruptHandlers(t.pci.bdf)).toEqual([]);
    const edu = eduDriver(t);
    raced.take();
    new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX).enable([signal]);
    edu.raise();
    expect(signal.soon()).toBe(1);
    expect(raced.take()).toBe(0);
  },
);

test(
  'irq.race.killed-process',
  'a process killed while it sets and removes vectors beside another leaves vectors that work',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    device: 'igb',
    timeoutMs: TIMEOUT_MS,
  },
  (t) => {
    const index = VFIO_PCI_MSIX_IRQ_INDEX;
    const driver = vectorDriver(t);
    const signals = [0, 1, 2, 3].map(() => t.eventfd());
    const msix = new Irqs(t.device, index);
    msix.enable(signals);
    const change = (program: Program, start: number, fd: number) =>
      setIrqs(program, t.device.fd, { flags: ENABLE, index, start, count: 1, data: fds([fd]) });
    const here = () => many((program, round) => change(program, round % 4, signals[round % 4]!.fd));
    for (let round = 0; round < 3; round++) {
      const other = t.actor({ inheritFds: [t.device.fd, ...signals.map(({ fd }) => fd)] });
      const there = new Program();
      const first = there.clock();
      for (const [vector, { fd }] of signals.entries()) {
        change(there, vector, -1);
        change(there, vector, fd);
      }
      there.repeat(first, ENDLESS);
      other.start(there);
      runParallel([raising(driver, 4), here()]);
      other.kill(SIGKILL);
      msix.enable(signals);
      driver.acknowledge();
      for (const signal of signals) signal.quiet();
      for (const [vector, signal] of signals.entries()) {
        driver.raise(vector);
        expect(signal.soon(), `vector ${vector}`).toBe(1);
      }
    }
  },
);
