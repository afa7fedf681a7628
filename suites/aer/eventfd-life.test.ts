import {
  Irqs,
  OWN_MACHINE,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  expect,
  AER_INJECT,
  sys,
  test,
} from '../../harness/testing/index.ts';
import { nonFatalReporter } from './non-fatal.ts';

const NEEDS = {
  covers: [VFIO_DEVICE_SET_IRQS],
  source: [
    'drivers/vfio/pci/vfio_pci_intrs.c vfio_pci_set_ctx_trigger_single()',
    'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_aer_err_detected()',
  ],
  device: 'igb',
  needs: [OWN_MACHINE, AER_INJECT],
};

test(
  'aer.eventfd.counted',
  'each of many errors in a row is one count of the eventfd',
  NEEDS,
  (context) => {
    const { device, eventfd } = context;
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    const report = nonFatalReporter(context);
    for (let round = 0; round < 5; round++) report();
    expect(signal.take()).toBe(5);
    expect(signal.take()).toBe(0);
  },
);

test(
  'aer.eventfd.never-set',
  'an error of a device without an eventfd for it is recovered from all the same',
  NEEDS,
  (context) => {
    const { device, pci } = context;
    const report = nonFatalReporter(context);
    report();
    expect(device.config.read16(0)).toBe(pci.vendor);
  },
);

for (const [how, title, take] of [
  ['disabled', 'count 0', (err: Irqs) => err.disable()],
  ['unset', 'the fd -1', (err: Irqs) => err.enable([null])],
] as const) {
  test(
    `aer.eventfd.${how}`,
    `an eventfd that was taken away with ${title} is not signalled, until it is set again`,
    NEEDS,
    (context) => {
      const { device, eventfd } = context;
      const signal = eventfd();
      const err = new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX);
      err.enable([signal]);
      const report = nonFatalReporter(context);
      take(err);
      report();
      expect(signal.take()).toBe(0);
      err.enable([signal]);
      report();
      expect(signal.take()).toBe(1);
    },
  );
}

test(
  'aer.eventfd.replaced',
  'an error goes to the eventfd that was set last, and to it alone',
  NEEDS,
  (context) => {
    const { device, eventfd } = context;
    const [first, second] = [eventfd(), eventfd()];
    const err = new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX);
    err.enable([first]);
    const report = nonFatalReporter(context);
    report();
    err.enable([second]);
    report();
    report();
    expect([first.take(), second.take()]).toEqual([1, 2]);
    err.enable([first]);
    report();
    expect([first.take(), second.take()]).toEqual([1, 0]);
  },
);

test(
  'aer.eventfd.set-again',
  'an eventfd that is set twice is signalled once',
  NEEDS,
  (context) => {
    const { device, eventfd } = context;
    const signal = eventfd();
    const err = new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX);
    err.enable([signal]);
    err.enable([signal]);
    nonFatalReporter(context)();
    expect(signal.take()).toBe(1);
  },
);

test(
  'aer.eventfd.refused',
  'a refused call leaves the eventfd in place',
  { ...NEEDS, covers: [VFIO_DEVICE_SET_IRQS.fails('EBADF'), VFIO_DEVICE_SET_IRQS.fails('EINVAL')] },
  (context) => {
    const { device, eventfd, container } = context;
    const signal = eventfd();
    const err = new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX);
    err.enable([signal]);
    const set = (fd: number) => {
      const data = Buffer.alloc(4);
      data.writeInt32LE(fd);
      return device.trySetIrqs({ flags: 0x24, index: VFIO_PCI_ERR_IRQ_INDEX, count: 1, data });
    };
    expect(set(9999)).toFailWith('EBADF');
    expect(set(container.fd), 'no eventfd').toFailWith('EINVAL');
    nonFatalReporter(context)();
    expect(signal.take()).toBe(1);
  },
);

test(
  'aer.eventfd.bool-false',
  'a trigger with a false bool neither signals nor unsets the eventfd',
  NEEDS,
  (context) => {
    const { device, eventfd } = context;
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    device.setIrqs({
      flags: VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER,
      index: VFIO_PCI_ERR_IRQ_INDEX,
      count: 1,
      data: Buffer.of(0),
    });
    expect(signal.take()).toBe(0);
    nonFatalReporter(context)();
    expect(signal.take()).toBe(1);
  },
);

test(
  'aer.eventfd.fd-closed',
  'an eventfd whose fd the user closed is still signalled through a duplicate',
  NEEDS,
  (context) => {
    const { device, eventfd, defer } = context;
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    const duplicate = sys.dup(signal.fd);
    defer(() => sys.close(duplicate));
    signal.close();
    nonFatalReporter(context)();
    const counter = Buffer.alloc(8);
    expect(sys.read(duplicate, counter)).toBe(8);
    expect(counter.readBigUInt64LE()).toBe(1n);
  },
);

test(
  'aer.eventfd.all-fds-closed',
  'an error whose eventfd has no fd any more is recovered from',
  NEEDS,
  (context) => {
    const { device, eventfd } = context;
    const [signal, fresh] = [eventfd(), eventfd()];
    const err = new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX);
    err.enable([signal]);
    signal.close();
    const report = nonFatalReporter(context);
    report();
    err.enable([fresh]);
    report();
    expect(fresh.take()).toBe(1);
  },
);

test('aer.eventfd.full', 'an eventfd that is full does not stop the recovery', NEEDS, (context) => {
  const { device, eventfd } = context;
  const signal = eventfd();
  const full = Buffer.alloc(8);
  full.writeBigUInt64LE(0xffff_ffff_ffff_fffen);
  expect(sys.write(signal.fd, full)).toBe(8);
  new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
  const report = nonFatalReporter(context);
  report();
  report();
  const counter = Buffer.alloc(8);
  expect(sys.read(signal.fd, counter)).toBe(8);
  expect(counter.readBigUInt64LE()).toBe(0xffff_ffff_ffff_ffffn);
});

test(
  'aer.eventfd.other-index',
  'an error signals the error index alone, and disabling another index does not disable it',
  NEEDS,
  (context) => {
    const { device, eventfd } = context;
    const [error, request, vector, line] = [eventfd(), eventfd(), eventfd(), eventfd()];
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([error]);
    const req = new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX);
    req.enable([request]);
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable([vector]);
    const report = nonFatalReporter(context);
    report();
    expect([error.take(), request.take(), vector.take()]).toEqual([1, 0, 0]);
    msix.disable();
    req.disable();
    const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([line]);
    report();
    intx.disable();
    report();
    expect([error.take(), request.take(), vector.take()]).toEqual([2, 0, 0]);
  },
);

test(
  'aer.eventfd.shared',
  'one eventfd on the error index of two functions counts the errors of both',
  { ...NEEDS, device: 'mf-a', uses: ['mf-b'] },
  (context) => {
    const { device, openRole, eventfd } = context;
    const sibling = openRole('mf-b').device;
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    new Irqs(sibling, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    nonFatalReporter(context)();
    expect(signal.take()).toBe(2);
  },
);

test(
  'aer.eventfd.survives-reset',
  'VFIO_DEVICE_RESET leaves the eventfd in place',
  { ...NEEDS, device: undefined, devices: ['igb', 'virtio-net', 'e1000e'] },
  (context) => {
    const { device, eventfd } = context;
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    device.reset();
    nonFatalReporter(context)();
    expect(signal.take()).toBe(1);
  },
);

test(
  'aer.eventfd.other-fd',
  'the eventfd stays when the fd that set it is closed while another is open',
  NEEDS,
  (context) => {
    const { group, openDevice, eventfd } = context;
    const signal = eventfd();
    const [first, second] = [openDevice(group), openDevice(group)];
    new Irqs(first, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    first.close();
    const report = nonFatalReporter(context);
    report();
    expect(signal.take()).toBe(1);
    new Irqs(second, VFIO_PCI_ERR_IRQ_INDEX).disable();
    report();
    expect(signal.take()).toBe(0);
  },
);

test(
  'aer.eventfd.gone-with-close',
  'after the last close an error reaches neither the old eventfd nor, unset, the next user',
  {
    ...NEEDS,
    source: [...NEEDS.source, 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_close_device()'],
  },
  (context) => {
    const { group, openDevice, eventfd } = context;
    const [old, fresh] = [eventfd(), eventfd()];
    const first = openDevice(group);
    new Irqs(first, VFIO_PCI_ERR_IRQ_INDEX).enable([old]);
    first.close();
    const report = nonFatalReporter(context);
    report();
    expect(old.take(), 'closed').toBe(0);
    const second = openDevice(group);
    report();
    expect(old.take(), 'open again').toBe(0);
    const err = new Irqs(second, VFIO_PCI_ERR_IRQ_INDEX);
    expect(() => err.disable(), 'nothing is set').toThrow(/EINVAL/);
    err.enable([fresh]);
    report();
    expect([old.take(), fresh.take()]).toEqual([0, 1]);
  },
);

test(
  'aer.eventfd.holder-killed',
  'an error after the death of the process that held the device disturbs nobody',
  NEEDS,
  (context) => {
    const { group, openDevice, eventfd, actor } = context;
    const signal = eventfd();
    const device = openDevice(group);
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    const holder = actor({ inheritFds: [device.fd] });
    device.close();
    const report = nonFatalReporter(context);
    report();
    expect(signal.take(), 'the other process still holds the device').toBe(1);
    holder.close();
    report();
    expect(signal.take()).toBe(0);
    expect(openDevice(group).config.read16(0)).toBe(0x8086);
  },
);
