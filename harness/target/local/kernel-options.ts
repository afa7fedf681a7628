import { join } from 'node:path';
import { LOCKDOWN, tellsOfLockdown } from '../../protocol/lockdown.ts';
import { namesIn, readText } from './files.ts';

/** Whether the kernel keeps even root from writing to config space. */
export function isLockedDown(sys = '/sys'): boolean {
  return tellsOfLockdown(readText(join(sys, LOCKDOWN)));
}

/**
 * Whether VFIO_SET_IOMMU is going to fail with EPERM because a device could raise any interrupt of this
 * machine: drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group(). Only x86 shows it: the names
 * of its interrupt chips say which are remapped.
 */
export function lacksInterruptRemapping(sys = '/sys'): boolean {
  const irqs = join(sys, 'kernel/irq');
  const chips = namesIn(irqs).map((irq) => readText(join(irqs, irq, 'chip_name')));
  const allowed = readText(join(sys, 'module/vfio_iommu_type1/parameters/allow_unsafe_interrupts'));
  return chips.includes('IO-APIC') && !chips.includes('IR-IO-APIC') && allowed !== 'Y';
}
