/** `<linux/kvm.h>`: memory and processor of a virtual machine on x86, and how interrupts get there. */
import { _IO, _IOR, _IOW } from './ioc.ts';
import { Ioctl } from './ioctl.ts';
import { KVMIO } from './kvm-base.ts';
import { address, bytes, flags, oneOf, struct, u16, u32, u64, u8 } from './struct.ts';

export const KVM_MEM_LOG_DIRTY_PAGES = 1 << 0;
export const KVM_MEM_READONLY = 1 << 1;

const MEMORY_FLAGS = { KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY };

/** Size and addresses in whole pages; a size of 0 takes the slot's memory away. */
export const kvm_userspace_memory_region = struct('kvm_userspace_memory_region', {
  slot: u32,
  flags: flags(u32, MEMORY_FLAGS),
  guest_phys_addr: u64,
  memory_size: u64,
  userspace_addr: address,
});

export const KVM_SET_USER_MEMORY_REGION = new Ioctl(
  'KVM_SET_USER_MEMORY_REGION',
  _IOW(KVMIO, 0x46, kvm_userspace_memory_region.size),
  'kvm-vm',
  kvm_userspace_memory_region,
  { flags: MEMORY_FLAGS },
);

/** The processor's number by value; gives its fd. */
export const KVM_CREATE_VCPU = new Ioctl('KVM_CREATE_VCPU', _IO(KVMIO, 0x41), 'kvm-vm', undefined, {
  argument: 'value',
  returns: 'kvm-vcpu',
});

/** Runs the guest until it leaves for user space: the reason is in the page mapped from the fd. */
export const KVM_RUN = new Ioctl('KVM_RUN', _IO(KVMIO, 0x80), 'kvm-vcpu', undefined);

/** The guest did an access to an I/O port which the kernel has no device for. */
export const KVM_EXIT_IO = 2;

/** A segment register with what the processor has cached of it; `g`: the limit counts pages. */
export const kvm_segment = struct('kvm_segment', {
  base: u64,
  limit: u32,
  selector: u16,
  type: u8,
  present: u8,
  dpl: u8,
  db: u8,
  s: u8,
  l: u8,
  g: u8,
  avl: u8,
  unusable: u8,
  padding: u8,
});

export const kvm_dtable = struct('kvm_dtable', { base: u64, limit: u16, padding: bytes(6) });

export const kvm_sregs = struct('kvm_sregs', {
  cs: kvm_segment,
  ds: kvm_segment,
  es: kvm_segment,
  fs: kvm_segment,
  gs: kvm_segment,
  ss: kvm_segment,
  tr: kvm_segment,
  ldt: kvm_segment,
  gdt: kvm_dtable,
  idt: kvm_dtable,
  cr0: u64,
  cr2: u64,
  cr3: u64,
  cr4: u64,
  cr8: u64,
  efer: u64,
  apic_base: u64,
  interrupt_bitmap: bytes(32),
});

export const KVM_GET_SREGS = new Ioctl(
  'KVM_GET_SREGS',
  _IOR(KVMIO, 0x83, kvm_sregs.size),
  'kvm-vcpu',
  kvm_sregs,
);

export const KVM_SET_SREGS = new Ioctl(
  'KVM_SET_SREGS',
  _IOW(KVMIO, 0x84, kvm_sregs.size),
  'kvm-vcpu',
  kvm_sregs,
);

export const KVM_IRQ_ROUTING_IRQCHIP = 1;
export const KVM_IRQ_ROUTING_MSI = 2;

export const KVM_IRQCHIP_PIC_MASTER = 0;
export const KVM_IRQCHIP_PIC_SLAVE = 1;
export const KVM_IRQCHIP_IOAPIC = 2;

export const kvm_irq_routing_irqchip = struct('kvm_irq_routing_irqchip', {
  irqchip: oneOf(u32, { KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC }),
  pin: u32,
});

/** Address and data of the message as a device would send it. */
export const kvm_irq_routing_msi = struct('kvm_irq_routing_msi', {
  address_lo: u32,
  address_hi: u32,
  data: u32,
  devid: u32,
});

/** `u` is the struct that belongs to `type`. */
export const kvm_irq_routing_entry = struct('kvm_irq_routing_entry', {
  gsi: u32,
  type: oneOf(u32, { KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI }),
  flags: u32,
  pad: u32,
  u: bytes(32),
});

export const kvm_irq_routing = struct(
  'kvm_irq_routing',
  { nr: u32, flags: u32 },
  { name: 'entries', element: kvm_irq_routing_entry },
);

/** Replaces the whole table. */
export const KVM_SET_GSI_ROUTING = new Ioctl(
  'KVM_SET_GSI_ROUTING',
  _IOW(KVMIO, 0x6a, kvm_irq_routing.size),
  'kvm-vm',
  kvm_irq_routing,
);

export const kvm_msi = struct('kvm_msi', {
  address_lo: u32,
  address_hi: u32,
  data: u32,
  flags: u32,
  devid: u32,
  pad: bytes(12),
});

/** Sends a message: > 0 if it was delivered, 0 if the guest blocked it. */
export const KVM_SIGNAL_MSI = new Ioctl(
  'KVM_SIGNAL_MSI',
  _IOW(KVMIO, 0xa5, kvm_msi.size),
  'kvm-vm',
  kvm_msi,
);
