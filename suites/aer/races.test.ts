import {
  AER_INJECT_NODE,
  AT_FDCWD,
  AerRegisters,
  Igb,
  Irqs,
  KernelErrors,
  OWN_MACHINE,
  O_WRONLY,
  PCI_ERR_UNCOR_STATUS,
  PCI_ERR_UNC_COMP_ABORT,
  Program,
  Recoveries,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  aerInjectRecord,
  expect,
  fds,
  AER_INJECT,
  replug,
  runParallel,
  test,
  vfio_irq_set,
  vfio_pci_hot_reset,
  type Device,
  type Group,
  type PciFunction,
  type Ref,
  type TestContext,
} from '../../harness/testing/index.ts';

const NEEDS = {
  covers: [VFIO_DEVICE_SET_IRQS],
  source: [
    'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_aer_err_detected()',
    'drivers/vfio/pci/vfio_pci_core.c vfio_pci_eventfd_replace_locked()',
  ],
  fixes: ['98693e0897f7'],
  device: 'igb',
  needs: [OWN_MACHINE, AER_INJECT],
  timeoutMs: 180_000,
};
/** Errors and rounds of what races with them: bounded, enough to meet on two processors. */
const ERRORS = 12;
const ROUNDS = 12;
const EVENTFD_TRIGGER = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;

/** Non-fatal errors of a function, one after the other. */
function errorsOf(pci: PciFunction): Program {
  const program = new Program();
  const node = program.syscall('openat', AT_FDCWD, program.data(AER_INJECT_NODE), O_WRONLY);
  const record = aerInjectRecord(pci, { uncorrectable: PCI_ERR_UNC_COMP_ABORT });
  const data = program.data(record);
  for (let round = 0; round < ERRORS; round++) {
    program.syscall('write', node, data, record.length);
    program.spin(500_000n);
  }
  program.syscall('close', node);
  return program;
}

function addSetIrqs(
  program: Program,
  device: Device,
  index: number,
  flags: number,
  eventfds: readonly number[],
): Ref {
  const header = vfio_irq_set.encode({
    argsz: vfio_irq_set.size + eventfds.length * 4,
    flags,
    index,
    start: 0,
    count: eventfds.length,
  });
  const data = program.data(Buffer.concat([header, fds(eventfds)]));
  return program.syscall('ioctl', device.fd, VFIO_DEVICE_SET_IRQS.request, data);
}

function addHotReset(program: Program, device: Device, group: Group): Ref {
  const header = vfio_pci_hot_reset.encode({
    argsz: vfio_pci_hot_reset.size + 4,
    flags: 0,
    count: 1,
  });
  const data = program.data(Buffer.concat([header, fds([group.fd])]));
  return program.syscall('ioctl', device.fd, VFIO_DEVICE_PCI_HOT_RESET.request, data);
}

const EAGAIN = -11;
const EBUSY = -16;

/** Each operation succeeded, or was refused because somebody else had the device. */
function expectDoneOrBusy(program: Program, refs: readonly Ref[], busy: number[] = [EAGAIN]): void {
  const results = refs.map((ref) => program.result(ref));
  expect(results.filter((result) => result !== 0 && !busy.includes(result))).toEqual([]);
}

/** Prepares the injection and returns the check of the end: a quiet system and a usable device. */
function prepare(context: TestContext) {
  // A recovery may be left half done by what raced with it.
  context.defer(() => replug(context.role));
  const { pci } = context;
  const recoveries = new Recoveries(context);
  const errors = new KernelErrors(context, pci);
  return {
    pci,
    expectUsable(device: Device): void {
      while (recoveries.tryNext(500));
      const registers = new AerRegisters(device);
      registers.write(PCI_ERR_UNCOR_STATUS, registers.read(PCI_ERR_UNCOR_STATUS));
      device.reset();
      const [signal, vector] = [context.eventfd(), context.eventfd()];
      new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
      errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
      expect(recoveries.next().outcome).toBe('successful');
      expect(signal.take()).toBe(1);
      const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
      msix.enable([vector]);
      const nic = new Igb(device);
      nic.raise(0);
      expect(vector.soon()).toBe(1);
      msix.disable();
      nic.unmap();
    },
  };
}

test(
  'aer.race.set-irqs',
  'errors while the error eventfd is set, replaced and unset go to an eventfd that was set, never twice',
  NEEDS,
  (context) => {
    const { pci, expectUsable } = prepare(context);
    const { device, eventfd } = context;
    const [first, second] = [eventfd(), eventfd()];
    const setting = new Program();
    const refs: Ref[] = [];
    for (let round = 0; round < ROUNDS * 8; round++) {
      for (const fd of [first.fd, second.fd, -1]) {
        refs.push(addSetIrqs(setting, device, VFIO_PCI_ERR_IRQ_INDEX, EVENTFD_TRIGGER, [fd]));
      }
    }
    runParallel([errorsOf(pci), setting]);
    expect(refs.map((ref) => setting.result(ref)).filter((result) => result !== 0)).toEqual([]);
    expectUsable(device);
    expect(first.take() + second.take()).toBeLessThanOrEqual(ERRORS);
  },
);

test(
  'aer.race.msix',
  'errors while MSI-X is enabled and disabled disturb neither',
  NEEDS,
  (context) => {
    const { pci, expectUsable } = prepare(context);
    const { device, eventfd } = context;
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    const vectors = [eventfd().fd, eventfd().fd];
    const toggling = new Program();
    const refs: Ref[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      refs.push(addSetIrqs(toggling, device, VFIO_PCI_MSIX_IRQ_INDEX, EVENTFD_TRIGGER, vectors));
      refs.push(
        addSetIrqs(
          toggling,
          device,
          VFIO_PCI_MSIX_IRQ_INDEX,
          VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
          [],
        ),
      );
    }
    runParallel([errorsOf(pci), toggling]);
    expect(refs.map((ref) => toggling.result(ref)).filter((result) => result !== 0)).toEqual([]);
    const count = signal.soon();
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThanOrEqual(ERRORS);
    expectUsable(device);
  },
);

test(
  'aer.race.reset',
  'errors while the device is being reset: each reset works or says EAGAIN, and the device is usable afterwards',
  { ...NEEDS, covers: [VFIO_DEVICE_RESET] },
  (context) => {
    const { pci, expectUsable } = prepare(context);
    const { device } = context;
    const resetting = new Program();
    const refs = Array.from({ length: ROUNDS }, () =>
      resetting.syscall('ioctl', device.fd, VFIO_DEVICE_RESET.request, 0),
    );
    runParallel([errorsOf(pci), resetting]);
    expectDoneOrBusy(resetting, refs);
    expectUsable(device);
  },
);

test(
  'aer.race.hot-reset',
  'errors while the bus is being reset: each hot reset works or says EAGAIN, and the device is usable afterwards',
  { ...NEEDS, covers: [VFIO_DEVICE_PCI_HOT_RESET] },
  (context) => {
    const { pci, expectUsable } = prepare(context);
    const { device, group } = context;
    const resetting = new Program();
    const refs = Array.from({ length: ROUNDS }, () => addHotReset(resetting, device, group));
    runParallel([errorsOf(pci), resetting]);
    expectDoneOrBusy(resetting, refs);
    expectUsable(device);
  },
);

test(
  'aer.race.three-way',
  'errors, a hot reset and SET_IRQS at the same time do not wait for each other for ever',
  { ...NEEDS, covers: [VFIO_DEVICE_PCI_HOT_RESET, VFIO_DEVICE_SET_IRQS] },
  (context) => {
    const { pci, expectUsable } = prepare(context);
    const { device, group, eventfd } = context;
    const [signal, vector] = [eventfd(), eventfd()];
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    const resetting = new Program();
    const resets = Array.from({ length: ROUNDS }, () => addHotReset(resetting, device, group));
    const setting = new Program();
    for (let round = 0; round < ROUNDS; round++) {
      addSetIrqs(setting, device, VFIO_PCI_MSIX_IRQ_INDEX, EVENTFD_TRIGGER, [vector.fd]);
      addSetIrqs(setting, device, VFIO_PCI_ERR_IRQ_INDEX, EVENTFD_TRIGGER, [signal.fd]);
      addSetIrqs(
        setting,
        device,
        VFIO_PCI_MSIX_IRQ_INDEX,
        VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
        [],
      );
    }
    runParallel([errorsOf(pci), resetting, setting]);
    // SET_IRQS holds the lock for device memory now and then: the hot reset does not wait for it.
    expectDoneOrBusy(resetting, resets, [EAGAIN, EBUSY]);
    new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX).enable([vector]);
    new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX).disable();
    expectUsable(device);
    expect(signal.take()).toBeLessThanOrEqual(ERRORS);
  },
);

test(
  'aer.race.open-close',
  'errors while the device is opened, given an eventfd and closed signal only while it is open',
  { ...NEEDS, covers: [VFIO_GROUP_GET_DEVICE_FD] },
  (context) => {
    const { pci, expectUsable } = prepare(context);
    const { group, openDevice, eventfd } = context;
    const signal = eventfd();
    const header = vfio_irq_set.encode({
      argsz: vfio_irq_set.size + 4,
      flags: EVENTFD_TRIGGER,
      index: VFIO_PCI_ERR_IRQ_INDEX,
      start: 0,
      count: 1,
    });
    const opening = new Program();
    const name = opening.data(pci.bdf);
    const set = opening.data(Buffer.concat([header, fds([signal.fd])]));
    const opened: Ref[] = [];
    for (let round = 0; round < ROUNDS / 2; round++) {
      const fd = opening.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, name);
      opened.push(fd);
      opening.syscall('ioctl', fd, VFIO_DEVICE_SET_IRQS.request, set);
      opening.syscall('close', fd);
    }
    runParallel([errorsOf(pci), opening]);
    // While the recovery has the device, it cannot be reset, and is not opened.
    expect(
      opened.map((ref) => opening.result(ref)).filter((fd) => fd < 0 && fd !== EAGAIN),
    ).toEqual([]);
    const device = openDevice(group);
    expectUsable(device);
    expect(signal.take()).toBeLessThanOrEqual(ERRORS);
  },
);
