/**
 * The registers of `<linux/pci_regs.h>` that an endpoint, a bridge or a virtual function of today
 * can have, under the header's names. CardBus, AGP, PCI-X, HyperTransport, hot-swap, IDE and CXL
 * are left out.
 */
export * from './pci-regs-conventional.ts';
export * from './pci-regs-express.ts';
