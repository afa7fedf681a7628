import {
  ERRNO,
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
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_REQ_IRQ_INDEX,
  kernelAtLeast,
} from '../../../harness/testing/index.ts';

/** What a SET_IRQS names instead of a number of a file: one of the eventfds, or something that is none. */
export type Target = number | 'none' | 'closed' | 'file' | 'negative';

/** A call of VFIO_DEVICE_SET_IRQS. */
export interface SetIrqsCall {
  index: number;
  flags: number;
  start: number;
  count: number;
  /** For DATA_EVENTFD. */
  targets: readonly Target[];
  /** For DATA_BOOL. */
  bools: readonly number[];
  /** Bytes less than the argument needs; 0 if it is large enough. */
  short: number;
}

/** What the device has, as VFIO_DEVICE_GET_IRQ_INFO tells. */
export interface IrqShape {
  counts: readonly number[];
  /** Vectors of MSI-X may be added while others are enabled: no VFIO_IRQ_INFO_NORESIZE. */
  isDynamic: boolean;
}

const DATA_TYPES = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_DATA_EVENTFD;
const ACTIONS = VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_ACTION_TRIGGER;
/** Before the xarray of Linux 6.5 there was a context for each vector that was enabled, and no other. */
const HAS_CONTEXTS_FOR_ALL = kernelAtLeast('6.5');

/** What errors and requests answer to a number below -1: earlier kernels took it for nothing to do. */
const REFUSES_NEGATIVE = kernelAtLeast('6.12') ? -ERRNO.EINVAL : 0;

/** What eventfd_ctx_fdget() says. */
function refusalOf(target: Target): number {
  if (target === 'closed') return -ERRNO.EBADF;
  return target === 'file' ? -ERRNO.EINVAL : 0;
}

/**
 * drivers/vfio/pci/vfio_pci_intrs.c as a small program: what is enabled, and which eventfd must have
 * counted what. Results are 0 or -errno.
 */
export class IrqModel {
  /** The index that is enabled: of INTx, MSI and MSI-X one at most. */
  enabled: number | null = null;
  isMasked = false;
  /** The eventfd that unmasks INTx. */
  #unmask: number | null = null;
  readonly vectors = new Map<number, number>();
  /** By eventfd. */
  readonly counts: number[];
  readonly #shape: IrqShape;
  /** Vectors that were asked for when the index was enabled. */
  #allocated = 0;
  readonly #single = new Map<number, number>();

  constructor(shape: IrqShape, eventfds: number) {
    this.#shape = shape;
    this.counts = new Array<number>(eventfds).fill(0);
  }

  /** vfio_set_irqs_validate_and_prepare() and what follows. */
  set(call: SetIrqsCall): number {
    const { index, flags, start, count, short } = call;
    const most = this.#shape.counts[index] ?? 0;
    const dataType = flags & DATA_TYPES;
    const isKnown =
      index < VFIO_PCI_NUM_IRQS && !(flags & ~(DATA_TYPES | ACTIONS)) && start + count <= most;
    if (!isKnown || start >= most) return -ERRNO.EINVAL;
    if (![1, 2, 4].includes(dataType) || short > 0) return -ERRNO.EINVAL;
    switch (index) {
      case VFIO_PCI_INTX_IRQ_INDEX:
        return this.#setIntx(call);
      case VFIO_PCI_MSI_IRQ_INDEX:
      case VFIO_PCI_MSIX_IRQ_INDEX:
        return this.#isTrigger(flags) ? this.#setVectors(call) : -ERRNO.ENOTTY;
      case VFIO_PCI_ERR_IRQ_INDEX:
      case VFIO_PCI_REQ_IRQ_INDEX:
        return this.#isTrigger(flags) ? this.#setSingle(call) : -ERRNO.ENOTTY;
      default:
        return -ERRNO.ENOTTY;
    }
  }

  #isTrigger(flags: number): boolean {
    return (flags & ACTIONS) === VFIO_IRQ_SET_ACTION_TRIGGER;
  }

  #signal(eventfd: number | undefined): void {
    if (eventfd !== undefined) this.counts[eventfd]! += 1;
  }

  #disable(): void {
    this.enabled = null;
    this.vectors.clear();
    this.isMasked = false;
    this.#removeUnmask();
  }

  /** virqfd_shutdown(): whoever leaves an eventfd's wait queue takes its count along. */
  #removeUnmask(): void {
    if (this.#unmask !== null) this.counts[this.#unmask] = 0;
    this.#unmask = null;
  }

  #setIntx(call: SetIrqsCall): number {
    switch (call.flags & ACTIONS) {
      case VFIO_IRQ_SET_ACTION_TRIGGER:
        return this.#triggerIntx(call);
      case VFIO_IRQ_SET_ACTION_MASK:
      case VFIO_IRQ_SET_ACTION_UNMASK:
        return this.#maskIntx(call);
      default:
        return -ERRNO.ENOTTY;
    }
  }

  #triggerIntx({ index, flags, start, count, targets, bools }: SetIrqsCall): number {
    const isIntx = this.enabled === index;
    if (isIntx && count === 0 && flags & VFIO_IRQ_SET_DATA_NONE) {
      this.#disable();
      return 0;
    }
    if ((this.enabled !== null && !isIntx) || start !== 0 || count !== 1) return -ERRNO.EINVAL;
    if (flags & VFIO_IRQ_SET_DATA_EVENTFD) {
      const target = targets[0]!;
      const refusal = refusalOf(target);
      if (refusal !== 0) return refusal;
      this.enabled = index;
      if (typeof target === 'number') this.vectors.set(0, target);
      else this.vectors.delete(0);
      return 0;
    }
    if (!isIntx) return -ERRNO.EINVAL;
    if (flags & VFIO_IRQ_SET_DATA_NONE || bools[0]) this.#signal(this.vectors.get(0));
    return 0;
  }

  #maskIntx({ index, flags, start, count, targets, bools }: SetIrqsCall): number {
    if (this.enabled !== index || start !== 0 || count !== 1) return -ERRNO.EINVAL;
    const isMask = (flags & VFIO_IRQ_SET_ACTION_MASK) !== 0;
    if (flags & VFIO_IRQ_SET_DATA_EVENTFD) {
      if (isMask) return -ERRNO.ENOTTY;
      const target = targets[0]!;
      if (target === 'none' || target === 'negative') {
        this.#removeUnmask();
        return 0;
      }
      const refusal = refusalOf(target);
      if (refusal !== 0) return refusal;
      if (this.#unmask !== null) return -ERRNO.EBUSY;
      this.#unmask = target as number;
      // vfio_virqfd_enable(): a signal that is there already counts.
      if (this.counts[this.#unmask]! > 0) this.isMasked = false;
      return 0;
    }
    if (flags & VFIO_IRQ_SET_DATA_NONE || bools[0]) this.isMasked = isMask;
    return 0;
  }

  #setVectors({ index, flags, start, count, targets, bools }: SetIrqsCall): number {
    const isOn = this.enabled === index;
    if (isOn && count === 0 && flags & VFIO_IRQ_SET_DATA_NONE) {
      this.#disable();
      return 0;
    }
    if (this.enabled !== null && !isOn) return -ERRNO.EINVAL;
    const beyond = start + count > this.#allocated;
    if (flags & VFIO_IRQ_SET_DATA_EVENTFD) {
      if (isOn) {
        if (!HAS_CONTEXTS_FOR_ALL && (start >= this.#allocated || beyond)) return -ERRNO.EINVAL;
        return this.#setBlock(index, start, targets.slice(0, count));
      }
      this.enabled = index;
      this.#allocated = start + count;
      const result = this.#setBlock(index, start, targets.slice(0, count));
      if (result !== 0) this.#disable();
      return result;
    }
    if (!isOn || (!HAS_CONTEXTS_FOR_ALL && beyond)) return -ERRNO.EINVAL;
    for (let vector = start; vector < start + count; vector++) {
      if (flags & VFIO_IRQ_SET_DATA_NONE || bools[vector - start]) {
        this.#signal(this.vectors.get(vector));
      }
    }
    return 0;
  }

  /** vfio_msi_set_block(): the first that fails takes those before it, and itself, along. */
  #setBlock(index: number, start: number, targets: readonly Target[]): number {
    for (const [offset, target] of targets.entries()) {
      const vector = start + offset;
      this.vectors.delete(vector);
      if (target === 'none' || target === 'negative') continue;
      const canGrow = index === VFIO_PCI_MSIX_IRQ_INDEX && this.#shape.isDynamic;
      const result = vector >= this.#allocated && !canGrow ? -ERRNO.EINVAL : refusalOf(target);
      if (result !== 0) {
        for (let undone = start; undone <= vector; undone++) this.vectors.delete(undone);
        return result;
      }
      this.vectors.set(vector, target as number);
    }
    return 0;
  }

  /** vfio_pci_set_ctx_trigger_single(): errors of the device, and requests to give it back. */
  #setSingle({ index, flags, start, count, targets, bools }: SetIrqsCall): number {
    if (start !== 0 || count > 1) return -ERRNO.EINVAL;
    const current = this.#single.get(index);
    if (flags & VFIO_IRQ_SET_DATA_NONE) {
      if (current === undefined) return -ERRNO.EINVAL;
      if (count === 1) this.#signal(current);
      else this.#single.delete(index);
      return 0;
    }
    if (count === 0) return -ERRNO.EINVAL;
    if (flags & VFIO_IRQ_SET_DATA_BOOL) {
      if (bools[0]) this.#signal(current);
      return 0;
    }
    const target = targets[0]!;
    if (target === 'none') this.#single.delete(index);
    if (typeof target === 'number') this.#single.set(index, target);
    return target === 'negative' ? REFUSES_NEGATIVE : refusalOf(target);
  }

  /** The unmask eventfd is signalled: INTx takes the count and unmasks. */
  signalUnmask(eventfd: number): void {
    if (this.#unmask === eventfd) {
      this.counts[eventfd] = 0;
      this.isMasked = false;
    } else {
      this.#signal(eventfd);
    }
  }

  /** Takes a counter: what read() gives, or -EAGAIN. */
  take(eventfd: number): number {
    const count = this.counts[eventfd]!;
    this.counts[eventfd] = 0;
    return count > 0 ? count : -ERRNO.EAGAIN;
  }
}
