import {
  Eventfd,
  Irqs,
  OWN_MACHINE,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  expect,
  functionInRole,
  kernelAtLeast,
  test,
  switchOnForVfioPci,
  type Device,
  type TestContext,
} from '../../harness/testing/index.ts';
import { numberComesBack, numberIsFree } from './eventfd-numbers.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const SOURCE = [INTRS, 'drivers/vfio/virqfd.c'];

/** What holds an eventfd: a name, and how it is armed on an igb. */
interface Holder {
  name: string;
  index: number;
  arm(device: Device, eventfd: Eventfd, t: TestContext): void;
}

const trigger = (name: string, index: number): Holder => ({
  name,
  index,
  arm: (device, eventfd) => new Irqs(device, index).enable([eventfd]),
});

const HOLDERS: Holder[] = [
  trigger('intx', VFIO_PCI_INTX_IRQ_INDEX),
  trigger('msi', VFIO_PCI_MSI_IRQ_INDEX),
  trigger('msix', VFIO_PCI_MSIX_IRQ_INDEX),
  trigger('err', VFIO_PCI_ERR_IRQ_INDEX),
  trigger('req', VFIO_PCI_REQ_IRQ_INDEX),
];

const RELEASES: Record<string, (device: Device, index: number, t: TestContext) => void> = {
  'minus-one': (device, index) => new Irqs(device, index).enable([null]),
  'another-eventfd': (device, index, t) => new Irqs(device, index).enable([t.eventfd()]),
  'count-zero': (device, index) => new Irqs(device, index).disable(),
  close: (device) => device.close(),
};

for (const { name, index, arm } of HOLDERS) {
  for (const [how, release] of Object.entries(RELEASES)) {
    test(
      `irq.lifetime.${name}.${how}`,
      `the ${name.toUpperCase()} eventfd is held while it is set and let go of once by ${how.replaceAll('-', ' ')}`,
      { covers: [VFIO_DEVICE_SET_IRQS], source: SOURCE, device: 'igb' },
      (t) => {
        const { device } = t;
        const eventfd = new Eventfd();
        const { id } = eventfd;
        t.defer(() => eventfd.close());
        arm(device, eventfd, t);
        eventfd.close();
        expect(numberIsFree(id), 'held by the device').toBe(false);
        release(device, index, t);
        expect(numberComesBack(id), 'let go of').toBe(true);

        // With the eventfd open all along it must not be let go of twice.
        const again = how === 'close' ? t.openDevice(t.group) : device;
        if (how !== 'close') new Irqs(again, index).tryPlain('trigger', 0, 0);
        const open = t.eventfd();
        for (let round = 0; round < 3; round++) {
          arm(again, open, t);
          if (how !== 'close') release(again, index, t);
          if (how === 'another-eventfd') arm(again, open, t);
        }
        if (how === 'close') release(again, index, t);
        expect(numberIsFree(open.id), 'its user still holds it').toBe(false);
        open.signal(3);
        expect(open.take()).toBe(3);
      },
    );
  }
}

const UNMASK_RELEASES: Record<string, (intx: Irqs) => void> = {
  'minus-one': (intx) => intx.tryEventfds([null], 0, 'unmask').must(),
  'count-zero': (intx) => intx.disable(),
  close: (intx) => intx.device.close(),
};

for (const [how, release] of Object.entries(UNMASK_RELEASES)) {
  test(
    `irq.lifetime.unmask.${how}`,
    `the unmask eventfd is no longer watched after ${how.replaceAll('-', ' ')}, and let go of`,
    {
      covers: [VFIO_DEVICE_SET_IRQS],
      source: 'drivers/vfio/virqfd.c virqfd_shutdown()',
      device: 'igb',
    },
    (t) => {
      const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
      const unmask = new Eventfd();
      t.defer(() => unmask.close());
      const { id } = unmask;
      intx.enable([t.eventfd()]);
      intx.unmaskBy(unmask);
      release(intx);
      unmask.signal(2);
      expect(unmask.take(), 'nobody else reads it').toBe(2);
      expect(numberIsFree(id)).toBe(false);
      unmask.close();
      expect(numberComesBack(id)).toBe(true);
    },
  );
}

test(
  'irq.lifetime.unmask.closed-by-user',
  'an unmask eventfd that its user closes is let go of without a call',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/virqfd.c virqfd_wakeup()',
    device: 'igb',
  },
  (t) => {
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([t.eventfd()]);
    const unmask = new Eventfd();
    const { id } = unmask;
    intx.unmaskBy(unmask);
    unmask.close();
    expect(numberComesBack(id)).toBe(true);
    intx.unmaskBy(t.eventfd());
  },
);

test(
  'irq.lifetime.refused',
  'calls that are refused hold no eventfd and let go of none',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL'), VFIO_DEVICE_SET_IRQS.fails('EBUSY')],
    source: SOURCE,
    device: 'igb',
  },
  (t) => {
    const { device } = t;
    const refused = new Eventfd();
    t.defer(() => refused.close());
    const { id } = refused;
    const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    const bad = 0x7fff_ffff;
    for (let round = 0; round < 5; round++) {
      expect(intx.tryEventfds([refused], 0, 'unmask')).toFailWith('EINVAL');
      intx.enable([t.eventfd()]);
      expect(intx.tryEventfds([refused], 0, 'mask')).toFailWith('ENOTTY');
      expect(msix.tryEventfds([refused])).toFailWith('EINVAL');
      intx.unmaskBy(t.eventfd());
      expect(intx.tryEventfds([refused], 0, 'unmask')).toFailWith('EBUSY');
      intx.disable();
      expect(msix.tryEventfds([refused, bad])).toFailWith('EBADF');
      msix.enable([t.eventfd()]);
      // Before vectors could be added (Linux 6.5) the range is refused first.
      expect(msix.tryEventfds([refused, bad])).toFailWith(
        kernelAtLeast('6.5') ? 'EBADF' : 'EINVAL',
      );
      expect(intx.tryEventfds([refused])).toFailWith('EINVAL');
      msix.disable();
    }
    expect(numberIsFree(id)).toBe(false);
    refused.close();
    expect(numberComesBack(id)).toBe(true);
  },
);

test(
  'irq.lifetime.exhausted',
  'an eventfd for more vectors than the processors have is let go of by each that was tried',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('ENOSPC')],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    device: 'many-vectors',
  },
  (t) => {
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const { count } = t.device.irqInfo(VFIO_PCI_MSIX_IRQ_INDEX);
    const eventfd = new Eventfd();
    t.defer(() => eventfd.close());
    const { id } = eventfd;
    const answer = msix.tryEventfds(Array.from({ length: count }, () => eventfd));
    // A machine with many processors has enough of them.
    if (answer.result === 0) msix.disable();
    else expect(answer).toFailWith('ENOSPC');
    expect(numberIsFree(id)).toBe(false);
    eventfd.close();
    expect(numberComesBack(id)).toBe(true);
  },
);

test(
  'irq.lifetime.line-busy',
  'an INTx eventfd whose enable fails because the line is taken is let go of',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EBUSY')],
    source: `${INTRS} vfio_pci_set_intx_trigger()`,
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    needs: [OWN_MACHINE],
  },
  (t) => {
    t.defer(
      switchOnForVfioPci(
        'nointxmask',
        ['edu-pair-a', 'edu-pair-b'].map((role) => functionInRole(role)!),
      ),
    );
    new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX).enable([t.eventfd()]);
    const second = new Irqs(t.openRole('edu-pair-b').device, VFIO_PCI_INTX_IRQ_INDEX);
    const refused = new Eventfd();
    t.defer(() => refused.close());
    const { id } = refused;
    for (let round = 0; round < 3; round++) {
      expect(second.tryEventfds([refused])).toFailWith('EBUSY');
    }
    expect(numberIsFree(id)).toBe(false);
    refused.close();
    expect(numberComesBack(id)).toBe(true);
  },
);
