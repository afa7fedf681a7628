import {
  Eventfd,
  VFIO_DEVICE_SET_IRQS,
  eduDriver,
  expect,
  lineDriver,
  sys,
  test,
} from '../../../harness/testing/index.ts';
import { enabledIntx } from './enabled-intx.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c vfio_pci_set_intx_unmask()';
const VIRQFD = 'drivers/vfio/virqfd.c';
const UNMASK_BY_EVENTFD = [
  VFIO_DEVICE_SET_IRQS.flag('VFIO_IRQ_SET_ACTION_UNMASK'),
  VFIO_DEVICE_SET_IRQS.flag('VFIO_IRQ_SET_DATA_EVENTFD'),
];

test(
  'irq.intx.unmask-eventfd',
  'a signal on the unmask eventfd unmasks INTx and is consumed',
  {
    covers: UNMASK_BY_EVENTFD,
    source: [INTRS, `${VIRQFD} virqfd_wakeup()`],
    devices: ['edu', 'e1000e'],
  },
  (t) => {
    const driver = lineDriver(t);
    const { intx, signal } = enabledIntx(t);
    const unmask = t.eventfd();
    intx.unmaskBy(unmask);
    for (let round = 0; round < 5; round++) {
      driver.raise();
      expect(signal.soon(), `round ${round}`).toBe(1);
      driver.acknowledge();
      unmask.signal();
      expect(unmask.take(), 'consumed').toBe(0);
    }
    driver.raise();
    expect(signal.soon()).toBe(1);
    unmask.signal();
    expect(signal.soon(), 'unmasked while the line is high').toBe(1);
    expect(signal.quiet()).toBe(0);
  },
);

test(
  'irq.intx.unmask-eventfd.pending',
  'an unmask eventfd that is signalled already unmasks when it is set',
  { covers: UNMASK_BY_EVENTFD, source: `${VIRQFD} vfio_virqfd_enable()`, device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const { signal, intx } = enabledIntx(t);
    edu.raise();
    expect(signal.soon()).toBe(1);
    intx.unmaskBy(t.eventfd({ initial: 1 }));
    expect(signal.soon()).toBe(1);
    expect(intx.tryEventfds([null], 0, 'unmask')).toSucceed(0);
    intx.unmaskBy(t.eventfd());
    expect(signal.quiet(), 'one without a signal does not').toBe(0);
  },
);

test(
  'irq.intx.unmask-eventfd.busy',
  'a second unmask eventfd is refused while there is one, and the first goes on working',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EBUSY')],
    source: `${VIRQFD} vfio_virqfd_enable()`,
    device: 'edu',
  },
  (t) => {
    const edu = eduDriver(t);
    const { signal, intx } = enabledIntx(t);
    const unmask = t.eventfd();
    const second = t.eventfd();
    intx.unmaskBy(unmask);
    expect(intx.tryEventfds([second], 0, 'unmask')).toFailWith('EBUSY');
    expect(intx.tryEventfds([unmask], 0, 'unmask'), 'the same again').toFailWith('EBUSY');
    edu.raise();
    expect(signal.soon()).toBe(1);
    second.signal();
    expect(signal.quiet(), 'the refused one does nothing').toBe(0);
    expect(second.take()).toBe(1);
    unmask.signal();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.unmask-eventfd.remove',
  'fd -1 takes the unmask eventfd away, also if there is none, and another can be set',
  { covers: UNMASK_BY_EVENTFD, source: [INTRS, `${VIRQFD} vfio_virqfd_disable()`], device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const { signal, intx } = enabledIntx(t);
    const unmask = t.eventfd();
    expect(intx.tryEventfds([null], 0, 'unmask')).toSucceed(0);
    edu.raise();
    expect(signal.soon()).toBe(1);
    for (const none of [-1, -2, -0x8000_0000]) {
      intx.unmaskBy(unmask);
      expect(intx.tryEventfds([none], 0, 'unmask')).toSucceed(0);
      unmask.signal();
      expect(signal.quiet()).toBe(0);
      expect(unmask.take()).toBe(1);
    }
    const other = t.eventfd();
    intx.unmaskBy(other);
    other.signal();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.unmask-eventfd.closed-by-user',
  'closing the unmask eventfd takes it away, and another can be set',
  { covers: UNMASK_BY_EVENTFD, source: `${VIRQFD} virqfd_wakeup()`, device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const { signal, intx } = enabledIntx(t);
    edu.raise();
    expect(signal.soon()).toBe(1);
    for (let round = 0; round < 10; round++) {
      const unmask = new Eventfd();
      intx.unmaskBy(unmask);
      unmask.signal();
      expect(signal.soon(), `round ${round}`).toBe(1);
      unmask.close();
    }
    expect(intx.tryEventfds([null], 0, 'unmask')).toSucceed(0);
    intx.unmask();
    expect(signal.soon(), 'INTx itself still works').toBe(1);
  },
);

test(
  'irq.intx.unmask-eventfd.bad-fd',
  'an unmask eventfd that is none is refused and none is set',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EBADF'), VFIO_DEVICE_SET_IRQS.fails('EINVAL')],
    source: `${VIRQFD} vfio_virqfd_enable()`,
    device: 'edu',
  },
  (t) => {
    const edu = eduDriver(t);
    const { signal, intx } = enabledIntx(t);
    const file = sys.open('/dev/null', 2);
    t.defer(() => sys.close(file));
    expect(intx.tryEventfds([0x7fff_ffff], 0, 'unmask')).toFailWith('EBADF');
    expect(intx.tryEventfds([file], 0, 'unmask')).toFailWith('EINVAL');
    expect(intx.tryEventfds([t.device.fd], 0, 'unmask')).toFailWith('EINVAL');
    const unmask = t.eventfd();
    intx.unmaskBy(unmask);
    edu.raise();
    expect(signal.soon()).toBe(1);
    unmask.signal();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.unmask-eventfd.disable',
  'disabling INTx takes the unmask eventfd away: it can be set anew after the next enable',
  {
    covers: UNMASK_BY_EVENTFD,
    source: 'drivers/vfio/pci/vfio_pci_intrs.c vfio_intx_disable()',
    device: 'edu',
  },
  (t) => {
    const edu = eduDriver(t);
    const { signal, intx } = enabledIntx(t);
    const unmask = t.eventfd();
    for (let round = 0; round < 3; round++) {
      intx.unmaskBy(unmask);
      intx.disable();
      intx.enable([signal]);
    }
    edu.raise();
    expect(signal.soon()).toBe(1);
    unmask.signal();
    expect(signal.quiet()).toBe(0);
    expect(unmask.take()).toBe(1);
    intx.unmaskBy(unmask);
    unmask.signal();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.unmask-eventfd.value',
  'any value signalled at once on the unmask eventfd is one unmask',
  { covers: UNMASK_BY_EVENTFD, source: `${VIRQFD} virqfd_wakeup()`, device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const { signal, intx } = enabledIntx(t);
    const unmask = t.eventfd();
    intx.unmaskBy(unmask);
    edu.raise();
    expect(signal.soon()).toBe(1);
    unmask.signal(1000);
    expect(signal.soon()).toBe(1);
    expect(signal.quiet()).toBe(0);
    expect(unmask.take()).toBe(0);
  },
);

test(
  'irq.intx.unmask-eventfd.same-as-trigger',
  'the trigger eventfd may be the unmask eventfd too: every interrupt unmasks itself',
  { covers: UNMASK_BY_EVENTFD, source: `${VIRQFD} virqfd_wakeup()`, device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const { signal, intx } = enabledIntx(t);
    intx.unmaskBy(signal);
    for (let round = 0; round < 3; round++) {
      intx.loopback();
      expect(signal.take(), 'consumed as an unmask').toBe(0);
    }
    expect(intx.tryEventfds([null], 0, 'unmask')).toSucceed(0);
    edu.raise();
    expect(signal.soon()).toBe(1);
  },
);
