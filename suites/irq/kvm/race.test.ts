import {
  Irqs,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_MSIX_IRQ_INDEX,
  bootGuest,
  expect,
  fds,
  runParallel,
  test,
  vectorDriver,
} from '../../../harness/testing/index.ts';
import { ENABLE, many, raising, setIrqs } from '../race-programs.ts';
import { IN_GUEST } from './in-guest.ts';

test(
  'irq.kvm.race.connect',
  'vectors set and removed while irqfds come and go and the device interrupts end with a guest that sees each',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [
      'drivers/vfio/pci/vfio_pci_intrs.c vfio_msi_set_vector_signal()',
      'virt/lib/irqbypass.c irq_bypass_register_producer()',
    ],
    device: 'igb',
    ...IN_GUEST,
  },
  (t) => {
    const index = VFIO_PCI_MSIX_IRQ_INDEX;
    const driver = vectorDriver(t);
    const guest = bootGuest(t, { messages: 2 });
    const signals = guest.messages.map(() => t.eventfd());
    const msix = new Irqs(t.device, index);
    msix.enable(signals);
    const setting = many((program, round) => {
      const start = round % 2;
      const fd = round % 3 === 0 ? -1 : signals[start]!.fd;
      setIrqs(program, t.device.fd, { flags: ENABLE, index, start, count: 1, data: fds([fd]) });
    });
    const connecting = many((program, round) => {
      const n = round % 2;
      const message = guest.messages[n]!;
      message.connectIn(program, signals[n]!);
      program.spin(20_000);
      message.disconnectIn(program, signals[n]!);
    });
    runParallel([raising(driver, 2), setting, connecting]);
    msix.enable(signals);
    for (const [n, message] of guest.messages.entries()) message.connect(signals[n]!);
    driver.acknowledge();
    for (const message of guest.messages) message.quiet();
    for (const [vector, message] of guest.messages.entries()) {
      driver.raise(vector);
      expect(message.soon(), `vector ${vector}`).toBe(1);
      driver.acknowledge();
    }
  },
);
