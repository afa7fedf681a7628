import {
  Irqs,
  VFIO_PCI_INTX_IRQ_INDEX,
  type Eventfd,
  type TestContext,
} from '../../../harness/testing/index.ts';

/** Roles of devices that raise INTx: a simple one on the root bus and behind a port, and a network card. */
export const LINE_DEVICES = ['edu', 'edu-rp', 'e1000e'];

/** INTx of the test's device, enabled with an eventfd. */
export function enabledIntx({ device, eventfd }: TestContext): { intx: Irqs; signal: Eventfd } {
  const signal = eventfd();
  const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
  intx.enable([signal]);
  return { intx, signal };
}
