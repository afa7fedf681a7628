import {
  Irqs,
  OWN_MACHINE,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_REQ_IRQ_INDEX,
  eventually,
  expect,
  hasGroupNode,
  startUnbinding,
  test,
  type BackgroundWrite,
  type Device,
  type TestContext,
} from '../../../harness/testing/index.ts';

const SOURCE = [
  'drivers/vfio/vfio_main.c vfio_unregister_group_dev()',
  'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_request()',
];
const RELAYING = /Relaying device request to user \(#(\d+)\)/;
const NO_CHANNEL = /No device request channel registered, blocked until released by user/;
const NEEDS = {
  covers: [VFIO_DEVICE_SET_IRQS],
  source: SOURCE,
  device: 'edu',
  needs: [OWN_MACHINE],
  provokes: [RELAYING, NO_CHANNEL],
};

/** The parts of the log that are about requests, as they come. */
function requestLog(context: TestContext): () => string[] {
  const log = context.kernelLog();
  const lines: string[] = [];
  return () => {
    lines.push(...log.drain().filter((line) => RELAYING.test(line) || NO_CHANNEL.test(line)));
    return lines;
  };
}

/** Once nobody has the device open, whoever waits for it goes on. */
function expectEndWithClose(unbinding: BackgroundWrite, device: Device): void {
  device.close();
  expect(unbinding.ends()).toBe(true);
}

test(
  'group.request.eventfd',
  'the user of a device that is to be unbound is asked for it once, at once, through the REQ eventfd',
  NEEDS,
  (context) => {
    const writer = context.actor();
    const log = requestLog(context);
    const { device, eventfd, pci } = context;
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([signal]);
    expect(signal.take()).toBe(0);
    const unbinding = startUnbinding(writer, pci);
    expect(signal.soon()).toBe(1);
    expect(unbinding.blocks()).toBe(true);
    expect(signal.take()).toBe(0);
    expect(eventually(() => log().length > 0)).toBe(true);
    expect(log().map((line) => RELAYING.exec(line)?.[1])).toEqual(['0']);
    expect(log()[0]).toContain(pci.bdf);
    expectEndWithClose(unbinding, device);
    expect(signal.take()).toBe(0);
  },
);

test(
  'group.request.no-channel',
  'without a REQ eventfd the log says once that the device is waited for',
  NEEDS,
  (context) => {
    const writer = context.actor();
    const log = requestLog(context);
    const { device, pci } = context;
    const unbinding = startUnbinding(writer, pci);
    expect(eventually(() => log().length > 0)).toBe(true);
    expect(unbinding.blocks()).toBe(true);
    expectEndWithClose(unbinding, device);
    expect(log()).toHaveLength(1);
    expect(log()[0]).toMatch(NO_CHANNEL);
    expect(log()[0]).toContain(pci.bdf);
  },
);

test(
  'group.request.repeated',
  'the request is repeated every ten seconds for as long as the device is open',
  NEEDS,
  (context) => {
    const writer = context.actor();
    const log = requestLog(context);
    const { device, eventfd, pci } = context;
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([signal]);
    const unbinding = startUnbinding(writer, pci);
    expect(signal.soon()).toBe(1);
    const start = performance.now();
    expect(signal.wait(40_000)).toBe(1);
    // The kernel waits in ticks; a loaded machine notices later, never earlier.
    expect(performance.now() - start).toBeGreaterThan(9_000);
    expect(hasGroupNode(pci.group!)).toBe(true);
    expectEndWithClose(unbinding, device);
    // Only every tenth request is logged.
    expect(log()).toHaveLength(1);
  },
);

test(
  'group.request.replaced',
  'the request goes to the eventfd that was set last',
  NEEDS,
  (context) => {
    const writer = context.actor();
    const { device, eventfd, pci } = context;
    const [old, fresh] = [eventfd(), eventfd()];
    const req = new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX);
    req.enable([old]);
    req.enable([fresh]);
    const unbinding = startUnbinding(writer, pci);
    expect(fresh.soon()).toBe(1);
    expect(old.take()).toBe(0);
    expectEndWithClose(unbinding, device);
  },
);

for (const [how, take] of [
  ['disabled', (req: Irqs) => req.disable()],
  ['unset', (req: Irqs) => req.enable([null])],
] as const) {
  test(
    `group.request.${how}`,
    'an eventfd that was taken away again is not signalled',
    NEEDS,
    (context) => {
      const writer = context.actor();
      const log = requestLog(context);
      const { device, eventfd, pci } = context;
      const signal = eventfd();
      const req = new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX);
      req.enable([signal]);
      take(req);
      const unbinding = startUnbinding(writer, pci);
      expect(eventually(() => log().length > 0)).toBe(true);
      expect(log()[0]).toMatch(NO_CHANNEL);
      expect(signal.take()).toBe(0);
      expectEndWithClose(unbinding, device);
    },
  );
}

test(
  'group.request.gone-with-close',
  'the REQ eventfd is forgotten with the last close of the device',
  {
    ...NEEDS,
    source: [...SOURCE, 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_close_device()'],
  },
  (context) => {
    const writer = context.actor();
    const log = requestLog(context);
    const { group, openDevice, eventfd, pci } = context;
    const signal = eventfd();
    const first = openDevice(group);
    new Irqs(first, VFIO_PCI_REQ_IRQ_INDEX).enable([signal]);
    first.close();
    const second = openDevice(group);
    const unbinding = startUnbinding(writer, pci);
    expect(eventually(() => log().length > 0)).toBe(true);
    expect(log()[0]).toMatch(NO_CHANNEL);
    expect(signal.take()).toBe(0);
    expectEndWithClose(unbinding, second);
  },
);

test(
  'group.request.any-fd',
  'the request reaches the eventfd also when the fd that set it is closed and another is open',
  NEEDS,
  (context) => {
    const writer = context.actor();
    const { group, openDevice, eventfd, pci } = context;
    const signal = eventfd();
    const [first, second] = [openDevice(group), openDevice(group)];
    new Irqs(first, VFIO_PCI_REQ_IRQ_INDEX).enable([signal]);
    first.close();
    const unbinding = startUnbinding(writer, pci);
    expect(signal.soon()).toBe(1);
    expectEndWithClose(unbinding, second);
  },
);

test(
  'group.request.only-own',
  'the request for one device does not reach the user of its sibling',
  { ...NEEDS, device: 'edu-pair-a', uses: ['edu-pair-b'] },
  (context) => {
    const writer = context.actor();
    const { device, openRole, eventfd, pci } = context;
    const sibling = openRole('edu-pair-b').device;
    const [mine, theirs] = [eventfd(), eventfd()];
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([mine]);
    new Irqs(sibling, VFIO_PCI_REQ_IRQ_INDEX).enable([theirs]);
    const unbinding = startUnbinding(writer, pci);
    expect(mine.soon()).toBe(1);
    expect(theirs.take()).toBe(0);
    expectEndWithClose(unbinding, device);
    expect(theirs.take()).toBe(0);
  },
);
