import {
  Irqs,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  ability,
  expect,
  hmp,
  test,
} from '../../harness/testing/index.ts';

const ERR_DETECTED = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_aer_err_detected()';
/** Milliseconds: a thread of the kernel's reports errors, later than it would an interrupt. */
const QUIET = 200;
/** The id that the machine gives its AER device on QEMU's command line. */
const AER_DEVICE = 'virtio-net';
const AER_MESSAGES = [/AER: /, /PCIe Bus Error/, /device recovery/];

test(
  'aer.err.info',
  'a PCIe device has one error interrupt',
  {
    covers: [VFIO_DEVICE_GET_IRQ_INFO],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_get_irq_count()',
    device: AER_DEVICE,
  },
  ({ device }) => {
    const info = device.irqInfo(VFIO_PCI_ERR_IRQ_INDEX);
    expect(info.count).toBe(1);
    expect(info.flags & VFIO_IRQ_INFO_EVENTFD).toBe(VFIO_IRQ_INFO_EVENTFD);
  },
);

test(
  'aer.err.loopback',
  'a trigger of the error index signals its eventfd',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/pci/vfio_pci_intrs.c vfio_pci_set_ctx_trigger_single()',
    device: AER_DEVICE,
  },
  ({ device, eventfd }) => {
    const signal = eventfd();
    const err = new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX);
    err.enable([signal]);
    err.loopback();
    expect(signal.take()).toBe(1);
  },
);

test(
  'aer.req.loopback',
  'a trigger of the request index signals its eventfd',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/pci/vfio_pci_intrs.c vfio_pci_set_ctx_trigger_single()',
  },
  ({ device, eventfd }) => {
    const signal = eventfd();
    const req = new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX);
    req.enable([signal]);
    req.loopback();
    expect(signal.take()).toBe(1);
  },
);

for (const error of ['POISON_TLP', 'COMP_ABORT']) {
  test(
    `aer.inject.non-fatal.${error.toLowerCase().replace('_', '-')}`,
    'a non-fatal error of the device signals the error eventfd once',
    {
      covers: [VFIO_DEVICE_SET_IRQS],
      source: ERR_DETECTED,
      device: AER_DEVICE,
      needs: [ability('hmp')],
      provokes: AER_MESSAGES,
    },
    ({ device, eventfd }) => {
      const signal = eventfd();
      new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
      hmp(`pcie_aer_inject_error ${AER_DEVICE} ${error}`);
      expect(signal.soon()).toBe(1);
      expect(signal.wait(QUIET)).toBe(0);
    },
  );
}

test(
  'aer.inject.correctable',
  'a correctable error does not reach the user',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'Documentation/PCI/pcieaer-howto.rst',
    device: AER_DEVICE,
    needs: [ability('hmp')],
    provokes: AER_MESSAGES,
  },
  ({ device, eventfd }) => {
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    hmp(`pcie_aer_inject_error -c ${AER_DEVICE} RCVR`);
    expect(signal.wait(QUIET)).toBe(0);
  },
);
