import {
  Eventfd,
  Irqs,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  allocatedMessages,
  expect,
  fds,
  interruptHandlers,
  ioctl,
  sys,
  test,
  vfio_irq_set,
} from '../../harness/testing/index.ts';

const PREPARE = 'drivers/vfio/vfio_main.c vfio_set_irqs_validate_and_prepare()';
const SET_IRQS = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_set_irqs()';
const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const OVERFLOWS = ['CVE-2016-9083', 'CVE-2016-9084', '05692d7005a3'];
const INDEXES = [0, 1, 2, 3, 4];
const SET_EVENTFD = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
const LOOPBACK = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
const LOOPBACK_BOOL = VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER;
const HEADER = 20;

test(
  'irq.set.argsz-header',
  'a SET_IRQS shorter than its header is refused and does nothing',
  { covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')], source: PREPARE, device: 'igb' },
  ({ device, eventfd }) => {
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([signal]);
    for (let argsz = 0; argsz < HEADER; argsz++) {
      const answer = device.trySetIrqs({
        flags: LOOPBACK,
        index: VFIO_PCI_REQ_IRQ_INDEX,
        count: 1,
        argsz,
      });
      expect(answer, `argsz ${argsz}`).toFailWith('EINVAL');
    }
    expect(signal.take()).toBe(0);
    for (const argsz of [HEADER, HEADER + 1, 0xffff_ffff]) {
      const answer = device.trySetIrqs({
        flags: LOOPBACK,
        index: VFIO_PCI_REQ_IRQ_INDEX,
        count: 1,
        argsz,
      });
      expect(answer, `argsz ${argsz}`).toSucceed(0);
      expect(signal.take()).toBe(1);
    }
  },
);

test(
  'irq.set.index-beyond',
  'a SET_IRQS for an index that does not exist is refused',
  { covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')], source: PREPARE, fixes: OVERFLOWS },
  ({ device, eventfd }) => {
    const { num_irqs } = device.info();
    const data = fds([eventfd().fd]);
    for (const index of [num_irqs, num_irqs + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      for (const count of [0, 1]) {
        expect(device.trySetIrqs({ flags: SET_EVENTFD, index, count, data })).toFailWith('EINVAL');
        expect(device.trySetIrqs({ flags: LOOPBACK, index, count })).toFailWith('EINVAL');
      }
    }
  },
);

test(
  'irq.set.unknown-flags',
  'each flag that the header does not define is refused on every index',
  { covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')], source: PREPARE, device: 'igb' },
  ({ device, eventfd }) => {
    const data = fds([eventfd().fd]);
    for (const index of INDEXES) {
      for (let bit = 6; bit < 32; bit++) {
        const flags = (SET_EVENTFD | (1 << bit)) >>> 0;
        expect(device.trySetIrqs({ flags, index, count: 1, data }), `bit ${bit}`).toFailWith(
          'EINVAL',
        );
      }
      expect(device.trySetIrqs({ flags: SET_EVENTFD, index, count: 1, data })).toSucceed(0);
      expect(device.trySetIrqs({ flags: LOOPBACK, index, count: 0 })).toSucceed(0);
    }
  },
);

test(
  'irq.set.data-flags',
  'a SET_IRQS must name exactly one kind of data',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')],
    source: PREPARE,
    device: 'igb',
    fixes: OVERFLOWS,
  },
  ({ device, eventfd }) => {
    const data = fds([eventfd().fd]);
    for (const index of INDEXES) {
      for (const action of [
        VFIO_IRQ_SET_ACTION_MASK,
        VFIO_IRQ_SET_ACTION_UNMASK,
        VFIO_IRQ_SET_ACTION_TRIGGER,
      ]) {
        for (const kinds of [0, 1 | 2, 1 | 4, 2 | 4, 1 | 2 | 4]) {
          for (const count of [0, 1]) {
            const answer = device.trySetIrqs({ flags: kinds | action, index, count, data });
            expect(answer, `index ${index}, flags ${kinds | action}`).toFailWith('EINVAL');
          }
        }
      }
    }
    // Nothing was enabled on the way: loopback finds no eventfd.
    for (const index of [0, 1, 2, 4]) {
      expect(device.trySetIrqs({ flags: LOOPBACK, index, count: 1 })).toFailWith('EINVAL');
    }
  },
);

test(
  'irq.set.action-flags',
  'a SET_IRQS must name exactly one action',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('ENOTTY')],
    source: `${INTRS} vfio_pci_set_irqs_ioctl()`,
    device: 'igb',
  },
  ({ device, eventfd }) => {
    const signal = eventfd();
    const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([signal]);
    const data = fds([signal.fd]);
    for (const index of INDEXES) {
      for (const actions of [0, 8 | 16, 8 | 32, 16 | 32, 8 | 16 | 32]) {
        for (const kind of [1, 2, 4]) {
          const answer = device.trySetIrqs({ flags: kind | actions, index, count: 1, data });
          expect(answer, `index ${index}, flags ${kind | actions}`).toFailWith('ENOTTY');
        }
      }
    }
    expect(signal.take()).toBe(0);
    intx.loopback();
    expect(signal.take(), 'INTx is still what it was').toBe(1);
  },
);

test(
  'irq.set.range',
  'start and count must lie within the index, also where their sum is the count plus one',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')],
    source: PREPARE,
    devices: ['igb', 'e1000e', 'nvme', 'virtio-net', 'xhci'],
    fixes: OVERFLOWS,
  },
  ({ device, eventfd }) => {
    const signal = eventfd();
    for (const index of INDEXES) {
      const { count: max } = device.irqInfo(index);
      const ranges = [
        [0, max + 1],
        [max, 1],
        [max, 0],
        [max + 1, 0],
        [1, max],
        [0xffff_fffe, 0],
      ] as const;
      for (const [start, count] of ranges) {
        for (const flags of [LOOPBACK, LOOPBACK_BOOL, SET_EVENTFD]) {
          const data = fds(Array.from({ length: max + 1 }, () => signal.fd));
          const answer = device.trySetIrqs({ flags, index, start, count, data });
          expect(answer, `index ${index}: ${start} + ${count}`).toFailWith('EINVAL');
        }
      }
    }
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    const { count } = device.irqInfo(VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable([signal], count - 1);
    msix.loopback(0, count);
    expect(signal.take(), 'the last vector is within').toBe(1);
  },
);

test(
  'irq.set.range-overflow',
  'a start plus count that overflows 32 bits is refused',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')],
    source: PREPARE,
    device: 'igb',
    fixes: OVERFLOWS,
  },
  ({ device, eventfd }) => {
    const data = fds(Array.from({ length: 16 }, () => eventfd().fd));
    const enabled = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    const signal = eventfd();
    enabled.enable([signal, signal]);
    for (const index of INDEXES) {
      for (const [start, count] of [
        [1, 0xffff_ffff],
        [0, 0xffff_ffff],
        [1, 0xffff_fffe],
        [2, 0xffff_fffe],
        [0xffff_ffff, 0],
        [0xffff_ffff, 1],
        [0xffff_ffff, 2],
        [0x8000_0000, 0x8000_0000],
        [0x8000_0000, 0x7fff_ffff],
        [5, 0x4000_0000],
        [0, 0x4000_0001],
      ] as const) {
        for (const flags of [LOOPBACK, LOOPBACK_BOOL, SET_EVENTFD]) {
          for (const argsz of [HEADER + data.length, 0xffff_ffff]) {
            const answer = device.trySetIrqs({ flags, index, start, count, data, argsz });
            expect(answer, `index ${index}: ${start} + ${count}`).toFailWith('EINVAL');
          }
        }
      }
    }
    expect(signal.take()).toBe(0);
  },
);

test(
  'irq.set.array-short',
  'an argsz that does not hold count elements is refused, one that just does is not',
  { covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')], source: PREPARE, device: 'igb' },
  ({ device, eventfd }) => {
    const signals = Array.from({ length: 10 }, () => eventfd());
    const index = VFIO_PCI_MSIX_IRQ_INDEX;
    const data = fds(signals.map(({ fd }) => fd));
    for (const count of [1, 2, 9, 10]) {
      for (const missing of [1, 3, 4]) {
        const argsz = HEADER + 4 * count - missing;
        const answer = device.trySetIrqs({ flags: SET_EVENTFD, index, count, data, argsz });
        expect(answer, `${count} eventfds in ${argsz} bytes`).toFailWith('EINVAL');
      }
      const argsz = HEADER + 4 * count;
      expect(device.trySetIrqs({ flags: SET_EVENTFD, index, count, data, argsz })).toSucceed(0);
      const bools = Buffer.alloc(count, 1);
      const short = { flags: LOOPBACK_BOOL, index, count, data: bools, argsz: HEADER + count - 1 };
      expect(device.trySetIrqs(short)).toFailWith('EINVAL');
      expect(signals.map((signal) => signal.take())).toEqual(signals.map(() => 0));
      expect(device.trySetIrqs({ ...short, argsz: HEADER + count })).toSucceed(0);
      expect(signals.map((signal) => signal.take())).toEqual(
        signals.map((_, i) => (i < count ? 1 : 0)),
      );
      expect(device.trySetIrqs({ flags: LOOPBACK, index, count: 0 })).toSucceed(0);
    }
  },
);

test(
  'irq.set.bad-address',
  'a SET_IRQS whose header or array cannot be read is refused with EFAULT and enables nothing',
  { covers: [VFIO_DEVICE_SET_IRQS.fails('EFAULT')], source: SET_IRQS, device: 'igb' },
  ({ device, eventfd, memory, pci }) => {
    const pages = memory({ size: 8192, kind: '4k' });
    expect(sys.mprotect(pages.address + 4096n, 4096, 0)).toBe(0);
    const call = (address: bigint) => ioctl(device.fd, VFIO_DEVICE_SET_IRQS, address);
    const place = (bytes: Buffer, fitting: number) => {
      pages.write(4096 - fitting, bytes.subarray(0, fitting));
      return pages.address + 4096n - BigInt(fitting);
    };
    const header = (flags: number, index: number, count: number) =>
      vfio_irq_set.encode({ argsz: HEADER + 4 * count, flags, index, start: 0, count });
    const signal = eventfd();
    const two = Buffer.concat([
      header(SET_EVENTFD, VFIO_PCI_MSIX_IRQ_INDEX, 2),
      fds([signal.fd, signal.fd]),
    ]);
    expect(call(0n)).toFailWith('EFAULT');
    expect(call(place(two, HEADER - 1)), 'the header ends beyond').toFailWith('EFAULT');
    expect(call(place(two, HEADER)), 'the array is beyond').toFailWith('EFAULT');
    expect(call(place(two, HEADER + 4)), 'half of the array is beyond').toFailWith('EFAULT');
    expect(interruptHandlers(pci.bdf)).toEqual([]);
    expect(call(place(two, HEADER + 8))).toSucceed(0);
    const bools = Buffer.concat([
      header(LOOPBACK_BOOL, VFIO_PCI_MSIX_IRQ_INDEX, 2),
      Buffer.of(1, 1),
    ]);
    expect(call(place(bools, HEADER + 1))).toFailWith('EFAULT');
    expect(signal.take()).toBe(0);
    const bare = header(LOOPBACK, VFIO_PCI_MSIX_IRQ_INDEX, 2);
    expect(call(place(bare, HEADER)), 'DATA_NONE reads no array').toSucceed(0);
    expect(signal.take()).toBe(2);
  },
);

test(
  'irq.set.unimplemented',
  'interrupt types that a device does not have cannot be used',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')],
    source: PREPARE,
    device: 'pci-testdev',
  },
  ({ device, eventfd }) => {
    const signal = eventfd();
    for (const index of [
      VFIO_PCI_INTX_IRQ_INDEX,
      VFIO_PCI_MSI_IRQ_INDEX,
      VFIO_PCI_MSIX_IRQ_INDEX,
    ]) {
      const irqs = new Irqs(device, index);
      expect(irqs.tryEventfds([signal])).toFailWith('EINVAL');
      expect(irqs.tryEventfds([])).toFailWith('EINVAL');
      expect(irqs.tryPlain('trigger')).toFailWith('EINVAL');
      expect(irqs.tryPlain('trigger', 0, 0)).toFailWith('EINVAL');
      expect(irqs.tryBools([1], 'trigger')).toFailWith('EINVAL');
    }
  },
);

/** Files that are no eventfds, opened for a test. */
function otherFiles(defer: (step: () => void) => void): Record<string, number> {
  const files = {
    'a regular file': sys.open('/proc/self/exe', 0),
    'a device node': sys.open('/dev/null', 2),
    'an epoll set': sys.call('epoll_create1', 0),
    'a timerfd': sys.call('timerfd_create', 1, 0),
  };
  for (const fd of Object.values(files)) defer(() => sys.close(fd));
  return files;
}

test(
  'irq.set.eventfd-closed',
  'an fd that is not open is refused with EBADF and leaves the index disabled',
  { covers: [VFIO_DEVICE_SET_IRQS.fails('EBADF')], source: INTRS, device: 'igb' },
  ({ device, pci }) => {
    const closed = new Eventfd();
    closed.close();
    for (const index of INDEXES) {
      for (const fd of [closed.fd, 0x7fff_ffff]) {
        expect(new Irqs(device, index).tryEventfds([fd]), `index ${index}`).toFailWith('EBADF');
      }
    }
    expect(interruptHandlers(pci.bdf)).toEqual([]);
    expect(allocatedMessages(pci)).toBe(0);
  },
);

test(
  'irq.set.eventfd-other-file',
  'an fd that is no eventfd is refused with EINVAL and leaves the index disabled',
  { covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')], source: INTRS, device: 'igb' },
  ({ device, pci, defer }) => {
    for (const [name, fd] of Object.entries({ ...otherFiles(defer), itself: device.fd })) {
      for (const index of INDEXES) {
        const answer = new Irqs(device, index).tryEventfds([fd]);
        expect(answer, `${name} for index ${index}`).toFailWith('EINVAL');
      }
    }
    expect(interruptHandlers(pci.bdf)).toEqual([]);
    expect(allocatedMessages(pci)).toBe(0);
  },
);

test(
  'irq.set.eventfd-other-file.armed',
  'a refused eventfd leaves the INTx, ERR and REQ eventfd that was there',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL'), VFIO_DEVICE_SET_IRQS.fails('EBADF')],
    source: INTRS,
    device: 'igb',
  },
  ({ device, eventfd, defer }) => {
    for (const index of [VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX]) {
      const irqs = new Irqs(device, index);
      const signal = eventfd();
      irqs.enable([signal]);
      for (const fd of Object.values(otherFiles(defer))) {
        expect(irqs.tryEventfds([fd])).toFailWith('EINVAL');
      }
      expect(irqs.tryEventfds([0x7fff_ffff])).toFailWith('EBADF');
      irqs.loopback();
      expect(signal.take(), `index ${index}`).toBe(1);
    }
  },
);

test(
  'irq.set.wrong-fd',
  'SET_IRQS and GET_IRQ_INFO are calls of a device: container and group do not know them',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('ENOTTY')],
    source: 'drivers/vfio/vfio_main.c',
    device: 'igb',
  },
  ({ container, group }) => {
    for (const { fd } of [container, group]) {
      const call = vfio_irq_set.encode({
        argsz: HEADER,
        flags: LOOPBACK,
        index: 0,
        start: 0,
        count: 0,
      });
      for (const request of [VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_GET_IRQ_INFO]) {
        expect(ioctl(fd, request, call)).toFailWith('ENOTTY');
      }
    }
  },
);
