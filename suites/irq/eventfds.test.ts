import {
  EFD_SEMAPHORE,
  EPOLLIN,
  EPOLL_CTL_ADD,
  Eventfd,
  Irqs,
  POLLERR,
  POLLIN,
  Program,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  eduDriver,
  expect,
  runParallel,
  sys,
  test,
  vectorDriver,
  vfio_irq_set,
} from '../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const EVENTFD = 'man 2 eventfd';
const LOOPBACK = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;

test(
  'irq.eventfd.accumulates',
  'signals that nobody reads add up, on top of the initial value',
  { covers: [VFIO_DEVICE_SET_IRQS], source: EVENTFD, device: 'igb' },
  ({ device, eventfd }) => {
    const signal = eventfd({ initial: 7 });
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable([signal]);
    expect(signal.poll()).toBe(POLLIN);
    for (let round = 0; round < 5; round++) msix.loopback();
    expect(signal.take()).toBe(12);
    expect(signal.poll()).toBe(0);
  },
);

test(
  'irq.eventfd.semaphore',
  'a semaphore eventfd gives one signal a read',
  { covers: [VFIO_DEVICE_SET_IRQS], source: EVENTFD, device: 'edu' },
  ({ device, eventfd }) => {
    const EFD_NONBLOCK = 0x800;
    const signal = eventfd({ flags: EFD_SEMAPHORE | EFD_NONBLOCK });
    const msi = new Irqs(device, VFIO_PCI_MSI_IRQ_INDEX);
    msi.enable([signal]);
    for (let round = 0; round < 3; round++) msi.loopback();
    expect([signal.take(), signal.take(), signal.take(), signal.take()]).toEqual([1, 1, 1, 0]);
  },
);

test(
  'irq.eventfd.saturates',
  'a signal on a full eventfd neither blocks nor wraps: it stays at its maximum and reports an error',
  { covers: [VFIO_DEVICE_SET_IRQS], source: EVENTFD, device: 'igb' },
  ({ device, eventfd }) => {
    const signal = eventfd();
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable([signal]);
    signal.signal(0xffff_ffff_ffff_fffen);
    expect(signal.poll()).toBe(POLLIN);
    for (let round = 0; round < 3; round++) msix.loopback();
    expect(signal.poll()).toBe(POLLIN | POLLERR);
    const value = Buffer.alloc(8);
    expect(sys.read(signal.fd, value)).toBe(8);
    expect(value.readBigUInt64LE()).toBe(0xffff_ffff_ffff_ffffn);
    msix.loopback();
    expect(signal.take()).toBe(1);
  },
);

test(
  'irq.eventfd.wakes-reader',
  'a thread that blocks in read of the eventfd is woken by the interrupt',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_msihandler()`, device: 'igb' },
  (t) => {
    const driver = vectorDriver(t);
    const signal = t.eventfd({ flags: 0 });
    new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX).enable([signal]);
    const reader = new Program();
    const value = reader.data(8);
    const read = reader.syscall('read', signal.fd, value, 8);
    const raiser = new Program();
    raiser.spin(5_000_000);
    driver.raiseIn(raiser, 0);
    runParallel([reader, raiser]);
    expect(reader.result(read)).toBe(8);
    expect(value.bytes.readBigUInt64LE()).toBe(1n);
    // The handler signals before it has returned: no more than the one.
    expect(signal.poll()).toBe(0);
  },
);

test(
  'irq.eventfd.epoll-edges',
  'an edge-triggered epoll reports each interrupt, read or not',
  { covers: [VFIO_DEVICE_SET_IRQS], source: EVENTFD, device: 'igb' },
  ({ device, eventfd, defer }) => {
    const EPOLLET = 0x8000_0000;
    const signal = eventfd();
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable([signal]);
    const epoll = sys.call('epoll_create1', 0);
    defer(() => sys.close(epoll));
    const event = Buffer.alloc(12);
    event.writeUInt32LE((EPOLLIN | EPOLLET) >>> 0, 0);
    const program = new Program();
    program.syscall('epoll_ctl', epoll, EPOLL_CTL_ADD, signal.fd, program.data(event));
    program.run();
    const ready = () => {
      const wait = new Program();
      const result = wait.syscall('epoll_pwait', epoll, wait.data(48), 4, 0, 0, 8);
      return wait.run().result(result);
    };
    expect(ready()).toBe(0);
    for (let round = 0; round < 3; round++) {
      msix.loopback();
      expect(ready(), 'an edge').toBe(1);
      expect(ready(), 'and only one').toBe(0);
    }
    expect(signal.take()).toBe(3);
  },
);

test(
  'irq.eventfd.shared-by-vectors',
  'one eventfd may serve several vectors: it counts all of them',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    device: 'igb',
  },
  (t) => {
    const driver = vectorDriver(t);
    const signal = t.eventfd();
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable([signal, signal, signal, signal]);
    msix.loopback(0, 4);
    expect(signal.take()).toBe(4);
    for (const vector of [0, 1, 2, 3]) {
      driver.raise(vector);
      expect(signal.soon(), `vector ${vector}`).toBe(1);
      driver.acknowledge();
    }
    msix.enable([null], 2);
    msix.loopback(0, 4);
    expect(signal.take(), 'one vector less').toBe(3);
    msix.disable();
    msix.enable([signal]);
    driver.raise(0);
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.eventfd.shared-by-devices',
  'one eventfd may serve several devices and indexes, each of which lets go of it for itself',
  { covers: [VFIO_DEVICE_SET_IRQS], source: INTRS, device: 'edu', uses: ['igb'] },
  (t) => {
    const edu = eduDriver(t);
    const signal = t.eventfd();
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    const req = new Irqs(t.device, VFIO_PCI_REQ_IRQ_INDEX);
    const msix = new Irqs(t.openRole('igb').device, VFIO_PCI_MSIX_IRQ_INDEX);
    intx.enable([signal]);
    req.enable([signal]);
    msix.enable([signal, signal]);
    intx.loopback();
    req.loopback();
    msix.loopback(0, 2);
    expect(signal.take()).toBe(4);
    msix.disable();
    edu.raise();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    intx.disable();
    req.loopback();
    expect(signal.take()).toBe(1);
  },
);

test(
  'irq.eventfd.closed-by-user',
  'an eventfd that the user has closed stays armed without harm, and can be replaced',
  { covers: [VFIO_DEVICE_SET_IRQS], source: INTRS, device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    for (const index of [VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX]) {
      const irqs = new Irqs(t.device, index);
      const closed = new Eventfd();
      irqs.enable([closed]);
      closed.close();
      irqs.loopback();
      edu.raise();
      edu.acknowledge();
      const fresh = t.eventfd();
      irqs.enable([fresh]);
      if (index === VFIO_PCI_INTX_IRQ_INDEX) irqs.unmask();
      fresh.quiet();
      edu.raise();
      expect(fresh.soon(), `index ${index}`).toBe(1);
      edu.acknowledge();
      irqs.disable();
    }
  },
);

test(
  'irq.eventfd.duplicate',
  'the interrupt belongs to the eventfd and not to its number: a duplicate still gets it',
  { covers: [VFIO_DEVICE_SET_IRQS], source: INTRS, device: 'igb' },
  ({ device, defer }) => {
    const signal = new Eventfd();
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable([signal]);
    const duplicate = sys.dup(signal.fd);
    defer(() => sys.close(duplicate));
    signal.close();
    // Another file takes the number.
    const other = new Eventfd();
    defer(() => other.close());
    expect(other.fd).toBe(signal.fd);
    msix.loopback();
    const value = Buffer.alloc(8);
    expect(sys.read(duplicate, value)).toBe(8);
    expect(value.readBigUInt64LE()).toBe(1n);
    expect(other.take()).toBe(0);
  },
);

for (const [name, role, index] of [
  ['intx', 'edu', VFIO_PCI_INTX_IRQ_INDEX],
  ['msi', 'edu', VFIO_PCI_MSI_IRQ_INDEX],
  ['msix', 'igb', VFIO_PCI_MSIX_IRQ_INDEX],
  ['req', 'edu', VFIO_PCI_REQ_IRQ_INDEX],
] as const) {
  test(
    `irq.eventfd.loopback-exact.${name}`,
    '100,000 triggers by the user are exactly 100,000 counts',
    { covers: [VFIO_DEVICE_SET_IRQS], source: INTRS, device: role },
    ({ device, eventfd }) => {
      const TRIGGERS = 100_000;
      const signal = eventfd();
      new Irqs(device, index).enable([signal]);
      const program = new Program();
      const call = program.data(
        vfio_irq_set.encode({ argsz: 20, flags: LOOPBACK, index, start: 0, count: 1 }),
      );
      const trigger = program.syscall('ioctl', device.fd, VFIO_DEVICE_SET_IRQS.request, call);
      const loop = program.repeat(trigger, TRIGGERS);
      program.run();
      expect(program.result(loop)).toBe(0);
      expect(program.count(loop)).toBe(TRIGGERS);
      expect(signal.take()).toBe(TRIGGERS);
    },
  );
}
