import { existsSync } from 'node:fs';
import {
  KVM_CREATE_DEVICE,
  KVM_CREATE_IRQCHIP,
  KVM_CREATE_VM,
  KVM_DEV_TYPE_VFIO,
  KVM_DEV_VFIO_FILE,
  KVM_DEV_VFIO_FILE_ADD,
  KVM_DEV_VFIO_FILE_DEL,
  KVM_SET_DEVICE_ATTR,
  kvm_create_device,
  kvm_device_attr,
} from '../abi/kvm.ts';
import { O_CLOEXEC, O_RDWR } from '../abi/libc.ts';
import { Program, sys } from '../shim/index.ts';
import { Answer } from '../kernel/answer.ts';
import { ioctl } from './ioctl.ts';
import { DEBUGFS } from '../kernel/debugfs.ts';

/** A virtual machine of KVM's, with KVM's VFIO device (Documentation/virt/kvm/devices/vfio.rst). */
export class VirtualMachine {
  readonly fd: number;
  readonly #vfio: number;
  #open = true;

  private constructor(vm: number, vfio: number) {
    this.fd = vm;
    this.#vfio = vfio;
  }

  /** @throws KernelError if KVM is there and refuses. */
  static create(): VirtualMachine {
    const kvm = new Answer('open /dev/kvm', sys.open('/dev/kvm', O_RDWR | O_CLOEXEC), undefined);
    const vm = ioctl(kvm.must(), KVM_CREATE_VM).must();
    sys.close(kvm.result);
    const device = kvm_create_device.encode({ type: KVM_DEV_TYPE_VFIO, fd: 0, flags: 0 });
    ioctl(vm, KVM_CREATE_DEVICE, device).must();
    return new VirtualMachine(vm, kvm_create_device.decode(device).fd);
  }

  /** Interrupt controllers that KVM emulates: ENOTTY if it was built without (CONFIG_KVM_IOAPIC). */
  tryCreateInterruptControllers(): Answer {
    return ioctl(this.fd, KVM_CREATE_IRQCHIP);
  }

  /** Makes a VFIO file known to the machine: a group or, since Linux 6.6, a device. */
  tryAdd(fd: number): Answer {
    return this.#set(KVM_DEV_VFIO_FILE_ADD, fd);
  }

  tryRemove(fd: number): Answer {
    return this.#set(KVM_DEV_VFIO_FILE_DEL, fd);
  }

  /** Whether the kernel still has the machine, its fds closed or not. Needs debugfs. */
  get exists(): boolean {
    return existsSync(`${DEBUGFS}/kvm/${process.pid}-${this.fd}`);
  }

  /** Closes the fds of the machine and of its VFIO device. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    sys.close(this.#vfio);
    sys.close(this.fd);
  }

  #set(attribute: number, fd: number): Answer {
    const program = new Program();
    const value = Buffer.alloc(4);
    value.writeInt32LE(fd);
    const argument = program.data(
      kvm_device_attr.encode({
        flags: 0,
        group: KVM_DEV_VFIO_FILE,
        attr: BigInt(attribute),
        addr: 0n,
      }),
    );
    program.store(64, argument.at(kvm_device_attr.offsetof('addr')), program.data(value));
    const set = program.syscall('ioctl', this.#vfio, KVM_SET_DEVICE_ATTR.request, argument);
    program.run();
    return new Answer('KVM_SET_DEVICE_ATTR', program.result(set), undefined);
  }
}
