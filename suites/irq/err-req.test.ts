import {
  Irqs,
  OWN_MACHINE,
  Program,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  expect,
  kernelAtLeast,
  test,
} from '../../harness/testing/index.ts';

const SINGLE = 'drivers/vfio/pci/vfio_pci_intrs.c vfio_pci_set_ctx_trigger_single()';
const CLOSE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_close_device()';
const REQUEST = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_request()';
const NOTICES = { err: VFIO_PCI_ERR_IRQ_INDEX, req: VFIO_PCI_REQ_IRQ_INDEX };

for (const [name, index] of Object.entries(NOTICES)) {
  const NAME = name.toUpperCase();
  test(
    `irq.${name}.set-replace-remove`,
    `the ${NAME} eventfd can be set, replaced and removed, and only the present one is signalled`,
    { covers: [VFIO_DEVICE_SET_IRQS], source: SINGLE, device: 'igb' },
    ({ device, eventfd }) => {
      const irqs = new Irqs(device, index);
      const [old, fresh] = [eventfd(), eventfd()];
      irqs.enable([old]);
      irqs.loopback();
      expect([old.take(), fresh.take()]).toEqual([1, 0]);
      irqs.enable([fresh]);
      irqs.loopback();
      expect([old.take(), fresh.take()]).toEqual([0, 1]);
      irqs.enable([-1]);
      expect(irqs.tryPlain('trigger')).toFailWith('EINVAL');
      irqs.enable([-1]);
      irqs.enable([old]);
      irqs.disable();
      expect(irqs.tryPlain('trigger')).toFailWith('EINVAL');
      expect(irqs.tryPlain('trigger', 0, 0), 'removed already').toFailWith('EINVAL');
      expect([old.take(), fresh.take()]).toEqual([0, 0]);
    },
  );

  test(
    `irq.${name}.bools`,
    `a true bool signals the ${NAME} eventfd, a false one does not, and without an eventfd both are fine`,
    { covers: [VFIO_DEVICE_SET_IRQS], source: SINGLE, device: 'igb' },
    ({ device, eventfd }) => {
      const irqs = new Irqs(device, index);
      const signal = eventfd();
      expect(irqs.tryBools([1], 'trigger')).toSucceed(0);
      expect(irqs.tryBools([0], 'trigger')).toSucceed(0);
      irqs.enable([signal]);
      expect(irqs.tryBools([0], 'trigger')).toSucceed(0);
      expect(signal.take()).toBe(0);
      expect(irqs.tryBools([1], 'trigger')).toSucceed(0);
      expect(irqs.tryBools([0xff], 'trigger')).toSucceed(0);
      expect(signal.take()).toBe(2);
      expect(irqs.tryBools([], 'trigger')).toFailWith('EINVAL');
      expect(irqs.tryBools([1, 1], 'trigger')).toFailWith('EINVAL');
      expect(signal.take()).toBe(0);
    },
  );

  test(
    `irq.${name}.negative-fd`,
    `of the negative fds only -1 removes the ${NAME} eventfd, the others change nothing`,
    { covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')], source: SINGLE, device: 'igb' },
    ({ device, eventfd }) => {
      const irqs = new Irqs(device, index);
      const signal = eventfd();
      irqs.enable([signal]);
      for (const fd of [-2, -3, -0x8000_0000]) {
        const answer = irqs.tryEventfds([fd]);
        // Before, they were accepted and changed nothing.
        if (kernelAtLeast('6.12')) expect(answer).toFailWith('EINVAL');
        else expect(answer).toSucceed(0);
        irqs.loopback();
        expect(signal.take()).toBe(1);
      }
      expect(irqs.tryEventfds([])).toFailWith('EINVAL');
      expect(irqs.tryEventfds([-1])).toSucceed(0);
      expect(irqs.tryPlain('trigger')).toFailWith('EINVAL');
    },
  );

  test(
    `irq.${name}.close`,
    `the ${NAME} eventfd of one user is gone for the next`,
    { covers: [VFIO_DEVICE_SET_IRQS], source: CLOSE, device: 'igb' },
    ({ group, pci, eventfd, device: opened }) => {
      opened.close();
      const signal = eventfd();
      const first = group.getDevice(pci.bdf);
      new Irqs(first, index).enable([signal]);
      first.close();
      const second = group.getDevice(pci.bdf);
      try {
        const irqs = new Irqs(second, index);
        expect(irqs.tryPlain('trigger')).toFailWith('EINVAL');
        expect(irqs.tryBools([1], 'trigger')).toSucceed(0);
        expect(signal.take()).toBe(0);
      } finally {
        second.close();
      }
    },
  );
}

test(
  'irq.err-req.apart',
  'ERR and REQ have an eventfd each',
  { covers: [VFIO_DEVICE_SET_IRQS], source: SINGLE, device: 'igb' },
  ({ device, eventfd }) => {
    const [err, req] = [eventfd(), eventfd()];
    const [errIrqs, reqIrqs] = [new Irqs(device, NOTICES.err), new Irqs(device, NOTICES.req)];
    errIrqs.enable([err]);
    expect(reqIrqs.tryPlain('trigger'), 'only ERR is set').toFailWith('EINVAL');
    reqIrqs.enable([req]);
    errIrqs.loopback();
    expect([err.take(), req.take()]).toEqual([1, 0]);
    reqIrqs.loopback();
    expect([err.take(), req.take()]).toEqual([0, 1]);
    errIrqs.disable();
    reqIrqs.loopback();
    expect([err.take(), req.take()]).toEqual([0, 1]);
  },
);

test(
  'irq.err.conventional',
  'a conventional device takes an ERR eventfd as its interrupt count says',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/pci/vfio_pci_intrs.c vfio_pci_set_irqs_ioctl()',
    device: 'edu',
  },
  ({ device, eventfd }) => {
    const signal = eventfd();
    const err = new Irqs(device, NOTICES.err);
    if (!kernelAtLeast('7.0')) {
      expect(err.tryEventfds([signal])).toFailWith('EINVAL');
      expect(err.tryPlain('trigger')).toFailWith('EINVAL');
      return;
    }
    err.enable([signal]);
    err.loopback();
    expect(signal.take()).toBe(1);
  },
);

for (const role of ['edu-rp', 'igb']) {
  test(
    `irq.req.unbind@${role}`,
    'a device that the host wants back signals REQ at once, and the host waits for the user to close it',
    {
      covers: [VFIO_DEVICE_SET_IRQS],
      source: REQUEST,
      device: role,
      needs: [OWN_MACHINE],
      provokes: [/Relaying device request to user/],
    },
    (t) => {
      // Ended last of all: it waits for the device to be closed.
      const host = t.actor();
      const signal = t.eventfd();
      const { device, pci } = t;
      new Irqs(device, NOTICES.req).enable([signal]);
      const unbinding = new Program();
      const file = unbinding.syscall(
        'openat',
        -100,
        unbinding.data('/sys/bus/pci/drivers/vfio-pci/unbind'),
        1,
        0,
      );
      const write = unbinding.syscall('write', file, unbinding.data(pci.bdf), pci.bdf.length);
      unbinding.syscall('close', file);
      host.start(unbinding);
      expect(signal.soon()).toBe(1);
      expect(signal.quiet(), 'not again at once').toBe(0);
      new Irqs(device, NOTICES.req).loopback();
      expect(signal.take(), 'the device still works').toBe(1);
      device.close();
      host.join();
      expect(unbinding.result(write)).toBe(pci.bdf.length);
      expect(pci.driver).toBe(null);
    },
  );
}

test(
  'irq.req.repeated',
  'the request is repeated until the device is closed',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [REQUEST, 'drivers/vfio/vfio_main.c vfio_unregister_group_dev()'],
    device: 'edu-rp',
    needs: [OWN_MACHINE],
    provokes: [/Relaying device request to user/],
    timeoutMs: 120_000,
  },
  (t) => {
    const REPEATED_WITHIN_MS = 60_000;
    const host = t.actor();
    const [signal, later] = [t.eventfd(), t.eventfd()];
    const { device, pci } = t;
    const req = new Irqs(device, NOTICES.req);
    req.enable([signal]);
    const unbinding = new Program();
    const path = unbinding.data('/sys/bus/pci/drivers/vfio-pci/unbind');
    const file = unbinding.syscall('openat', -100, path, 1, 0);
    unbinding.syscall('write', file, unbinding.data(pci.bdf), pci.bdf.length);
    unbinding.syscall('close', file);
    host.start(unbinding);
    expect(signal.soon()).toBe(1);
    req.enable([later]);
    expect(later.wait(REPEATED_WITHIN_MS), 'the eventfd set meanwhile').toBe(1);
    expect(signal.take()).toBe(0);
    device.close();
    host.join();
  },
);
