/** Ioctls as data: number, the kind of fd they belong to, their argument, and names for coverage. */
import type { Names, Struct } from './struct.ts';

/**
 * What an fd refers to. The same number means different ioctls on different kinds: 0x3b71 is
 * VFIO_IOMMU_MAP_DMA on a container and VFIO_DEVICE_PCI_HOT_RESET on a device.
 */
export type FdKind =
  | 'container'
  | 'group'
  | 'device'
  | 'iommufd'
  | 'migration'
  | 'kvm'
  | 'kvm-vm'
  | 'kvm-vcpu'
  | 'kvm-device';

/**
 * How the third argument of ioctl(2) is meant: nothing, a number by value, a pointer to a struct,
 * to an `int` that holds an fd, to a `__u32`, or to a NUL-terminated string.
 */
export type ArgumentKind = 'none' | 'value' | 'struct' | 'fd-pointer' | 'u32-pointer' | 'string';

export interface IoctlOptions<F extends Names, V extends Names, C extends Names> {
  /** Default: `struct` when there is a struct, else `none`. */
  argument?: ArgumentKind;
  /** Flags in the argument, given or returned. */
  flags?: F;
  /** Named values the argument selects from: extensions, indexes, features, operations. */
  values?: V;
  /** Capabilities that its answer may chain behind the struct, by id. */
  capabilities?: C;
  /** The structs of those capabilities. */
  capabilityStructs?: Readonly<Record<number, Struct<unknown>>>;
  /** A successful result is a new fd of this kind. */
  returns?: FdKind | 'dmabuf';
}

/** An ioctl under its own name. `String(ioctl)` is that name, which is its key in the coverage table. */
export class Ioctl<
  Fd extends FdKind = FdKind,
  T = unknown,
  F extends Names = Names,
  V extends Names = Names,
  C extends Names = Names,
> {
  readonly name: string;
  /** The number on this architecture. */
  readonly request: number;
  readonly fd: Fd;
  readonly struct: Struct<T> | undefined;
  readonly argument: ArgumentKind;
  readonly flags: F;
  readonly values: V;
  readonly capabilities: C;
  readonly capabilityStructs: Readonly<Record<number, Struct<unknown>>>;
  readonly returns: FdKind | 'dmabuf' | undefined;

  constructor(
    name: string,
    request: number,
    fd: Fd,
    struct: Struct<T> | undefined,
    options: IoctlOptions<F, V, C> = {},
  ) {
    this.name = name;
    this.request = request;
    this.fd = fd;
    this.struct = struct;
    this.argument = options.argument ?? (struct ? 'struct' : 'none');
    this.flags = options.flags ?? ({} as F);
    this.values = options.values ?? ({} as V);
    this.capabilities = options.capabilities ?? ({} as C);
    this.capabilityStructs = options.capabilityStructs ?? {};
    this.returns = options.returns;
  }

  /** Coverage key: this ioctl fails with this errno, e.g. `VFIO_IOMMU_MAP_DMA:EEXIST`. */
  fails(errno: string): string {
    return `${this.name}:${errno}`;
  }

  /** Coverage key of one of its flags: `VFIO_IOMMU_MAP_DMA:flag:VFIO_DMA_MAP_FLAG_READ`. */
  flag(name: keyof F & string): string {
    if (!(name in this.flags)) throw new Error(`${this.name} has no flag ${name}`);
    return `${this.name}:flag:${name}`;
  }

  /** Coverage key of a value its argument selects: `VFIO_CHECK_EXTENSION:value:VFIO_TYPE1_IOMMU`. */
  value(name: keyof V & string): string {
    if (!(name in this.values)) throw new Error(`${this.name} has no value ${name}`);
    return `${this.name}:value:${name}`;
  }

  /** Coverage key of a capability in its answer: `VFIO_IOMMU_GET_INFO:capability:…`. */
  capability(name: keyof C & string): string {
    if (!(name in this.capabilities)) throw new Error(`${this.name} has no capability ${name}`);
    return `${this.name}:capability:${name}`;
  }

  /** All keys that the coverage table knows for this ioctl without errno: itself, flags, values, capabilities. */
  keys(): string[] {
    return [
      this.name,
      ...Object.keys(this.flags).map((name) => this.flag(name)),
      ...Object.keys(this.values).map((name) => this.value(name)),
      ...Object.keys(this.capabilities).map((name) => this.capability(name)),
    ];
  }

  toString(): string {
    return this.name;
  }
}
