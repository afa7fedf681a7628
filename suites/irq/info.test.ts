import {
  PCI_CAP_ID_MSI,
  PCI_CAP_ID_MSIX,
  Irqs,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  expect,
  findCapability,
  ioctl,
  kernelAtLeast,
  sys,
  test,
  vfio_irq_info,
} from '../../harness/testing/index.ts';

const GET_IRQ_INFO = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_irq_info()';
const IRQ_COUNT = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_get_irq_count()';
const KINDS = ['edu', 'e1000e', 'igb', 'nvme', 'virtio-net', 'xhci', 'pci-testdev', 'vmxnet3'];
const FIXED_SIZE = 16;

test(
  'irq.info.argsz',
  'a GET_IRQ_INFO shorter than its fixed part is refused, a longer one touches nothing behind it',
  { covers: [VFIO_DEVICE_GET_IRQ_INFO.fails('EINVAL')], source: GET_IRQ_INFO, device: 'igb' },
  ({ device }) => {
    for (let index = 0; index < 5; index++) {
      for (const argsz of [0, 1, 12, FIXED_SIZE - 1]) {
        const answer = device.tryGetIrqInfo(index, argsz);
        expect(answer).toFailWith('EINVAL');
        expect(answer.value).toEqual({ argsz, flags: 0, index, count: 0 });
      }
      for (const argsz of [FIXED_SIZE, FIXED_SIZE + 1, 4096, 0xffff_ffff]) {
        const buffer = Buffer.alloc(64, 0xa5);
        vfio_irq_info.encode({ argsz, flags: 0xffff_ffff, index, count: 77 }).copy(buffer);
        expect(ioctl(device.fd, VFIO_DEVICE_GET_IRQ_INFO, buffer)).toSucceed(0);
        expect(vfio_irq_info.decode(buffer)).toEqual({ ...device.irqInfo(index), argsz });
        expect(buffer.subarray(FIXED_SIZE)).toEqual(Buffer.alloc(48, 0xa5));
      }
    }
  },
);

test(
  'irq.info.bad-address',
  'a GET_IRQ_INFO whose structure cannot be read or written is refused with EFAULT',
  { covers: [VFIO_DEVICE_GET_IRQ_INFO.fails('EFAULT')], source: GET_IRQ_INFO, device: 'igb' },
  ({ device, memory }) => {
    const pages = memory({ size: 8192, kind: '4k' });
    const info = vfio_irq_info.encode({ argsz: FIXED_SIZE, flags: 0, index: 0, count: 0 });
    pages.write(0, info);
    pages.write(4096 - 8, info.subarray(0, 8));
    const at = (address: bigint) => ioctl(device.fd, VFIO_DEVICE_GET_IRQ_INFO, address);
    expect(at(0n)).toFailWith('EFAULT');
    expect(sys.mprotect(pages.address + 4096n, 4096, 0)).toBe(0);
    expect(at(pages.address + 4088n), 'its end is beyond what is mapped').toFailWith('EFAULT');
    expect(sys.mprotect(pages.address, 4096, 1)).toBe(0);
    expect(at(pages.address), 'the answer has no place').toFailWith('EFAULT');
    expect(sys.mprotect(pages.address, 8192, 3)).toBe(0);
    expect(at(pages.address)).toSucceed(0);
  },
);

test(
  'irq.info.intx',
  'INTx is one maskable, automasked interrupt if the function has an interrupt pin, none otherwise',
  {
    covers: [
      VFIO_DEVICE_GET_IRQ_INFO.value('VFIO_PCI_INTX_IRQ_INDEX'),
      VFIO_DEVICE_GET_IRQ_INFO.flag('VFIO_IRQ_INFO_EVENTFD'),
      VFIO_DEVICE_GET_IRQ_INFO.flag('VFIO_IRQ_INFO_MASKABLE'),
      VFIO_DEVICE_GET_IRQ_INFO.flag('VFIO_IRQ_INFO_AUTOMASKED'),
    ],
    source: IRQ_COUNT,
    devices: KINDS,
  },
  ({ device, pci }) => {
    const INTERRUPT_PIN = 0x3d;
    expect(device.irqInfo(VFIO_PCI_INTX_IRQ_INDEX)).toEqual({
      argsz: FIXED_SIZE,
      index: VFIO_PCI_INTX_IRQ_INDEX,
      flags: VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED,
      count: pci.config()[INTERRUPT_PIN] === 0 ? 0 : 1,
    });
  },
);

test(
  'irq.info.msi',
  'the MSI index has as many interrupts as the capability offers and is set up as a whole',
  {
    covers: [
      VFIO_DEVICE_GET_IRQ_INFO.value('VFIO_PCI_MSI_IRQ_INDEX'),
      VFIO_DEVICE_GET_IRQ_INFO.flag('VFIO_IRQ_INFO_NORESIZE'),
    ],
    source: IRQ_COUNT,
    devices: KINDS,
    peer: ['L6'],
  },
  ({ device, pci }) => {
    const capability = findCapability(device.config, PCI_CAP_ID_MSI);
    const control = capability === null ? null : pci.config().readUInt16LE(capability + 2);
    expect(device.irqInfo(VFIO_PCI_MSI_IRQ_INDEX)).toEqual({
      argsz: FIXED_SIZE,
      index: VFIO_PCI_MSI_IRQ_INDEX,
      flags: VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE,
      count: control === null ? 0 : 1 << ((control >> 1) & 7),
    });
  },
);

test(
  'irq.info.msix',
  'the MSI-X index has as many interrupts as the table; it can be resized where vectors can be added',
  {
    covers: [VFIO_DEVICE_GET_IRQ_INFO.value('VFIO_PCI_MSIX_IRQ_INDEX')],
    source: [IRQ_COUNT, GET_IRQ_INFO],
    devices: KINDS,
    peer: ['L6'],
  },
  ({ device, pci }) => {
    const capability = findCapability(device.config, PCI_CAP_ID_MSIX);
    const control = capability === null ? null : pci.config().readUInt16LE(capability + 2);
    const dynamic = control !== null && kernelAtLeast('6.5');
    expect(device.irqInfo(VFIO_PCI_MSIX_IRQ_INDEX)).toEqual({
      argsz: FIXED_SIZE,
      index: VFIO_PCI_MSIX_IRQ_INDEX,
      flags: VFIO_IRQ_INFO_EVENTFD | (dynamic ? 0 : VFIO_IRQ_INFO_NORESIZE),
      count: control === null ? 0 : (control & 0x7ff) + 1,
    });
  },
);

test(
  'irq.info.req',
  'every function has one interrupt by which the host asks for the device',
  {
    covers: [VFIO_DEVICE_GET_IRQ_INFO.value('VFIO_PCI_REQ_IRQ_INDEX')],
    source: IRQ_COUNT,
    devices: KINDS,
  },
  ({ device }) => {
    expect(device.irqInfo(VFIO_PCI_REQ_IRQ_INDEX)).toEqual({
      argsz: FIXED_SIZE,
      index: VFIO_PCI_REQ_IRQ_INDEX,
      flags: VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE,
      count: 1,
    });
  },
);

test(
  'irq.info.err',
  'a PCIe function has one error interrupt; conventional PCI has it too since Linux 7',
  {
    covers: [VFIO_DEVICE_GET_IRQ_INFO.value('VFIO_PCI_ERR_IRQ_INDEX')],
    source: [IRQ_COUNT, GET_IRQ_INFO],
    devices: ['edu', 'e1000e', 'igb', 'nvme', 'virtio-net', 'xhci'],
  },
  ({ device, role }) => {
    const answer = device.tryGetIrqInfo(VFIO_PCI_ERR_IRQ_INDEX);
    if (role === 'edu' && !kernelAtLeast('7.0')) {
      expect(answer).toFailWith('EINVAL');
      return;
    }
    expect(answer.get()).toEqual({
      argsz: FIXED_SIZE,
      index: VFIO_PCI_ERR_IRQ_INDEX,
      flags: VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE,
      count: 1,
    });
  },
);

test(
  'irq.info.stable',
  'enabling interrupts changes nothing in what GET_IRQ_INFO tells',
  { covers: [VFIO_DEVICE_GET_IRQ_INFO], source: IRQ_COUNT, device: 'igb' },
  ({ device, eventfd }) => {
    const all = () => Array.from({ length: 5 }, (_, index) => device.irqInfo(index));
    const before = all();
    for (const index of [
      VFIO_PCI_INTX_IRQ_INDEX,
      VFIO_PCI_MSI_IRQ_INDEX,
      VFIO_PCI_MSIX_IRQ_INDEX,
    ]) {
      const irqs = new Irqs(device, index);
      irqs.enable([eventfd()]);
      expect(all()).toEqual(before);
      irqs.disable();
      expect(all()).toEqual(before);
    }
  },
);
