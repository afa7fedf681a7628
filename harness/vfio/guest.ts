import {
  KVM_IRQCHIP_PIC_MASTER,
  KVM_IRQ_ROUTING_IRQCHIP,
  KVM_IRQ_ROUTING_MSI,
  KVM_SET_GSI_ROUTING,
  KVM_SET_USER_MEMORY_REGION,
  KVM_SIGNAL_MSI,
  kvm_irq_routing,
  kvm_irq_routing_entry,
  kvm_irq_routing_irqchip,
  kvm_irq_routing_msi,
  kvm_msi,
  kvm_userspace_memory_region,
} from '../abi/kvm.ts';
import { DmaMemory, type Program, type Ref } from '../shim/index.ts';
import {
  GUEST_MEMORY,
  LINE_PIN,
  LINE_VECTOR,
  MESSAGE_VECTOR,
  counterAddress,
  guestImage,
  type Idle,
} from './guest-code.ts';
import { GuestInterrupt } from './guest-interrupt.ts';
import { ioctl } from './ioctl.ts';
import type { Mapping } from './region.ts';
import { VirtualMachine } from './virtual-machine.ts';
import { VirtualProcessor } from './virtual-processor.ts';

/** Where messages are sent to: the guest's one local APIC. */
const MESSAGE_ADDRESS = 0xfee0_0000;
/** Numbers below belong to the pins of the interrupt controllers. */
const MESSAGE_GSI = 24;
/** Where the guest sees the memory of a device. */
const DEVICE_ADDRESS = 0x1000_0000;
/** Exits by which the guest has reached its idle loop. */
const START_EXITS = { leaves: 4, sleeps: 1 };

interface GuestOptions {
  /** How many messages the guest handles. */
  messages?: number;
  /** By default it leaves; one that sleeps must only be run when an interrupt is certain to come. */
  idle?: Idle;
  /** Memory of a device that the guest has, and where in it the handler of the line stores all ones. */
  device?: { memory: Pick<Mapping, 'address' | 'size'>; acknowledge: number };
}

/** A guest that counts its interrupts: a line with level, and messages. It runs only while a call of this class asks. */
export class Guest {
  readonly machine: VirtualMachine;
  readonly line: GuestInterrupt;
  readonly messages: readonly GuestInterrupt[];
  readonly #memory: DmaMemory;
  readonly #processor: VirtualProcessor;
  #open = true;

  private constructor(machine: VirtualMachine, memory: DmaMemory, messages: number) {
    this.machine = machine;
    this.#memory = memory;
    this.#processor = VirtualProcessor.create(machine.fd);
    const interrupt = (gsi: number, vector: number) =>
      new GuestInterrupt(machine.fd, this.#processor, gsi, () =>
        memory.read(counterAddress(vector), 4).readUInt32LE(),
      );
    this.line = interrupt(LINE_PIN, LINE_VECTOR);
    this.messages = Array.from({ length: messages }, (_, n) =>
      interrupt(MESSAGE_GSI + n, MESSAGE_VECTOR + n),
    );
  }

  /** @throws KernelError */
  static boot({ messages = 0, idle = 'leaves', device }: GuestOptions = {}): Guest {
    const machine = VirtualMachine.create();
    machine.tryCreateInterruptControllers().must();
    const memory = DmaMemory.allocate({ size: GUEST_MEMORY });
    memory.write(0, guestImage(messages, idle, device && DEVICE_ADDRESS + device.acknowledge));
    giveMemory(machine.fd, 0, 0, memory);
    if (device) giveMemory(machine.fd, 1, DEVICE_ADDRESS, device.memory);
    const guest = new Guest(machine, memory, messages);
    guest.routeMessages(guest.messages.map((_, n) => n));
    guest.#processor.run(START_EXITS[idle]);
    return guest;
  }

  /** Sends what is connected to the n-th message to the guest as message `targets[n]`. */
  routeMessages(targets: readonly number[]): void {
    const entries = [
      kvm_irq_routing_entry.encode({
        gsi: LINE_PIN,
        type: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_irqchip.encode({ irqchip: KVM_IRQCHIP_PIC_MASTER, pin: LINE_PIN }),
      }),
      ...targets.map((target, n) =>
        kvm_irq_routing_entry.encode({
          gsi: MESSAGE_GSI + n,
          type: KVM_IRQ_ROUTING_MSI,
          u: kvm_irq_routing_msi.encode({
            address_lo: MESSAGE_ADDRESS,
            data: MESSAGE_VECTOR + target,
          }),
        }),
      ),
    ];
    const table = Buffer.concat([kvm_irq_routing.encode({ nr: entries.length }), ...entries]);
    ioctl(this.machine.fd, KVM_SET_GSI_ROUTING, table).must();
  }

  /** Sends the guest its n-th message as a device would. */
  sendMessage(n: number): void {
    const message = kvm_msi.encode({ address_lo: MESSAGE_ADDRESS, data: MESSAGE_VECTOR + n });
    ioctl(this.machine.fd, KVM_SIGNAL_MSI, message).must();
  }

  /** Adds a run of the guest until it leaves, which one that sleeps does when it has handled an interrupt. */
  runIn(program: Program): Ref {
    return this.#processor.runIn(program);
  }

  /** A second call does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#processor.close();
    this.machine.close();
    this.#memory.free();
  }
}

function giveMemory(
  vm: number,
  slot: number,
  at: number,
  { address, size }: { address: bigint; size: number | bigint },
): void {
  const region = kvm_userspace_memory_region.encode({
    slot,
    guest_phys_addr: BigInt(at),
    memory_size: BigInt(size),
    userspace_addr: address,
  });
  ioctl(vm, KVM_SET_USER_MEMORY_REGION, region).must();
}
