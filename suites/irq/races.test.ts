import {
  Irqs,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  Program,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  eduDriver,
  expect,
  fds,
  runParallel,
  test,
  vectorDriver,
  type Device,
} from '../../harness/testing/index.ts';
import { DISABLE, ENABLE, many, raising, setIrqs } from './race-programs.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
/** The user's DisINTx on and off. */
function togglingDisIntx(device: Device): Program {
  const { config } = device;
  const command = config.read16(PCI_COMMAND) & ~PCI_COMMAND_INTX_DISABLE;
  return many((program, round) => {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(command | (round % 2 === 0 ? PCI_COMMAND_INTX_DISABLE : 0));
    const at = config.info.offset + BigInt(PCI_COMMAND);
    program.syscall('pwrite', device.fd, program.data(bytes), 2, at);
  });
}

test(
  'irq.race.intx-enable-interrupt',
  'INTx enabled, replaced and disabled while the device interrupts ends with a device that works',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [`${INTRS} vfio_intx_enable()`, `${INTRS} vfio_intx_disable()`],
    device: 'edu',
    fixes: ['CVE-2024-27437', 'CVE-2024-26812'],
    peer: ['A18'],
  },
  (t) => {
    const driver = eduDriver(t);
    const [one, two] = [t.eventfd(), t.eventfd()];
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([one]);
    const setting = many((program, round) => {
      const { index } = intx;
      const fd = [two.fd, -1, one.fd, two.fd][round % 4]!;
      setIrqs(program, t.device.fd, { flags: ENABLE, index, count: 1, data: fds([fd]) });
      setIrqs(program, t.device.fd, { flags: DISABLE, index, count: round % 3 === 0 ? 0 : 1 });
    });
    runParallel([raising(driver), setting]);
    driver.acknowledge();
    intx.enable([one]);
    intx.unmask();
    one.quiet();
    driver.raise();
    expect(one.soon()).toBe(1);
  },
);

test(
  'irq.race.intx-mask-config',
  'INTx masked and unmasked by calls, by eventfd and by DisINTx at once ends with a mask that obeys',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [`${INTRS} vfio_pci_intx_mask()`, `${INTRS} vfio_pci_intx_unmask_handler()`],
    device: 'edu',
    fixes: ['CVE-2024-26810', '810cd4bb5345'],
    peer: ['A18'],
  },
  (t) => {
    const driver = eduDriver(t);
    const [signal, unmask] = [t.eventfd(), t.eventfd()];
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    intx.unmaskBy(unmask);
    const masking = many((program, round) => {
      const action = round % 2 === 0 ? VFIO_IRQ_SET_ACTION_MASK : VFIO_IRQ_SET_ACTION_UNMASK;
      setIrqs(program, t.device.fd, { flags: VFIO_IRQ_SET_DATA_NONE | action, index: 0, count: 1 });
    });
    const signalling = many((program) => {
      const one = Buffer.alloc(8);
      one.writeBigUInt64LE(1n);
      program.syscall('write', unmask.fd, program.data(one), 8);
    });
    runParallel([raising(driver), masking, signalling, togglingDisIntx(t.device)]);
    driver.acknowledge();
    intx.unmask();
    signal.quiet();
    driver.raise();
    expect(signal.soon()).toBe(1);
    expect(signal.quiet()).toBe(0);
    driver.acknowledge();
    unmask.signal();
    driver.raise();
    expect(signal.soon(), 'the unmask eventfd still works').toBe(1);
  },
);

test(
  'irq.race.intx-setup-config',
  'INTx set up and taken down while DisINTx is written ends with a mask that is as the bit says',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_intx_enable()`,
    device: 'edu',
    fixes: ['CVE-2024-26810', '810cd4bb5345'],
  },
  (t) => {
    const driver = eduDriver(t);
    const signal = t.eventfd();
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    const setting = many((program) => {
      const data = fds([signal.fd]);
      setIrqs(program, t.device.fd, { flags: ENABLE, index: 0, count: 1, data });
      setIrqs(program, t.device.fd, { flags: DISABLE, index: 0, count: 0 });
    });
    runParallel([setting, togglingDisIntx(t.device)]);
    intx.enable([signal]);
    driver.raise();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.race.unmask-eventfd',
  'an unmask eventfd set and removed while it is signalled and INTx goes up and down ends well',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: ['drivers/vfio/virqfd.c virqfd_wakeup()', 'drivers/vfio/virqfd.c virqfd_shutdown()'],
    device: 'edu',
    fixes: ['CVE-2024-26812'],
    peer: ['A18'],
  },
  (t) => {
    const driver = eduDriver(t);
    const [signal, unmask] = [t.eventfd(), t.eventfd()];
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    const flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK;
    const setting = many((program, round) => {
      const fd = round % 2 === 0 ? unmask.fd : -1;
      setIrqs(program, t.device.fd, { flags, index: 0, count: 1, data: fds([fd]) });
      if (round % 10 !== 9) return;
      setIrqs(program, t.device.fd, { flags: DISABLE, index: 0, count: 0 });
      setIrqs(program, t.device.fd, { flags: ENABLE, index: 0, count: 1, data: fds([signal.fd]) });
    });
    const signalling = many((program) => {
      const one = Buffer.alloc(8);
      one.writeBigUInt64LE(1n);
      program.syscall('write', unmask.fd, program.data(one), 8);
    });
    runParallel([raising(driver), setting, signalling]);
    driver.acknowledge();
    expect(intx.tryEventfds([null], 0, 'unmask')).toSucceed(0);
    unmask.take();
    intx.unmaskBy(unmask);
    unmask.signal();
    signal.quiet();
    driver.raise();
    expect(signal.soon()).toBe(1);
    unmask.signal();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.race.msix-vectors',
  'vectors set, removed and triggered by several threads while the device interrupts end well',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    device: 'igb',
  },
  (t) => {
    const driver = vectorDriver(t);
    const signals = Array.from({ length: 4 }, () => t.eventfd());
    const index = VFIO_PCI_MSIX_IRQ_INDEX;
    const msix = new Irqs(t.device, index);
    msix.enable(signals);
    const setting = many((program, round) => {
      const vector = round % 4;
      const fd = round % 3 === 0 ? -1 : signals[vector]!.fd;
      setIrqs(program, t.device.fd, {
        flags: ENABLE,
        index,
        start: vector,
        count: 1,
        data: fds([fd]),
      });
    });
    const triggering = many((program) => {
      setIrqs(program, t.device.fd, { flags: DISABLE, index, count: 4 });
    });
    runParallel([raising(driver, 4), setting, triggering]);
    msix.enable(signals);
    driver.acknowledge();
    for (const signal of signals) signal.quiet();
    for (const [vector, signal] of signals.entries()) {
      driver.raise(vector);
      expect(signal.soon(), `vector ${vector}`).toBe(1);
    }
  },
);

test(
  'irq.race.types',
  'threads that fight over the interrupt type leave a device that takes any of them',
  { covers: [VFIO_DEVICE_SET_IRQS], source: INTRS, device: 'igb' },
  (t) => {
    const signals = [t.eventfd(), t.eventfd(), t.eventfd()];
    const types = [VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX];
    const fighting = types.map((index, which) =>
      many((program) => {
        const data = fds([signals[which]!.fd]);
        setIrqs(program, t.device.fd, { flags: ENABLE, index, count: 1, data });
        setIrqs(program, t.device.fd, { flags: DISABLE, index, count: 1 });
        setIrqs(program, t.device.fd, { flags: DISABLE, index, count: 0 });
      }),
    );
    runParallel(fighting);
    for (const [which, index] of types.entries()) {
      const irqs = new Irqs(t.device, index);
      signals[which]!.take();
      irqs.enable([signals[which]!]);
      irqs.loopback();
      expect(signals[which]!.take(), `index ${index}`).toBe(1);
      irqs.disable();
    }
  },
);

test(
  'irq.race.reset',
  'resets while vectors are set and the device interrupts end with vectors that work',
  {
    covers: [VFIO_DEVICE_RESET, VFIO_DEVICE_SET_IRQS],
    source: ['drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset()', INTRS],
    device: 'igb',
    fixes: ['98693e0897f7'],
  },
  (t) => {
    const driver = vectorDriver(t);
    const signals = [t.eventfd(), t.eventfd()];
    const index = VFIO_PCI_MSIX_IRQ_INDEX;
    const msix = new Irqs(t.device, index);
    msix.enable(signals);
    const resetting = new Program();
    for (let round = 0; round < 3; round++) {
      resetting.syscall('ioctl', t.device.fd, VFIO_DEVICE_RESET.request, 0);
    }
    const setting = many((program, round) => {
      const fd = signals[round % 2]!.fd;
      setIrqs(program, t.device.fd, {
        flags: ENABLE,
        index,
        start: round % 2,
        count: 1,
        data: fds([fd]),
      });
    });
    runParallel([resetting, setting]);
    driver.acknowledge();
    const again = vectorDriver(t);
    for (const signal of signals) signal.quiet();
    for (const [vector, signal] of signals.entries()) {
      again.raise(vector);
      expect(signal.soon(), `vector ${vector}`).toBe(1);
    }
  },
);
