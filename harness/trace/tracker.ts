/**
 * Follows a recorded program: which file descriptors, mappings and children exist at each moment,
 * what they are, and which call they came from.
 */
import type { FdKind, Ioctl } from '../abi/ioctl.ts';
import { F_DUPFD, F_DUPFD_CLOEXEC, MAP_ANONYMOUS, MREMAP_DONTUNMAP } from '../abi/libc.ts';
import type { Struct } from '../abi/struct.ts';
import {
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_PROBE,
} from '../abi/vfio.ts';
import { reached, type Call } from './call.ts';
import { findIoctl } from './ioctls.ts';
import { signatureOf } from './signature.ts';

/** Where a number came from: a call's result, or bytes that a call left in the arena. */
export type Origin =
  { kind: 'result'; run: number; index: number } | { kind: 'arena'; run: number; offset: number };

export interface OpenFd {
  kind: FdKind | 'eventfd' | 'dmabuf' | 'file' | 'other';
  /** For people: a path, a device's name, `eventfd`. */
  label: string;
  origin: Origin;
  /** The IOMMU model chosen for a container. */
  model?: number;
  /** Bytes of config space that reads of this device have shown. */
  config?: Map<number, number>;
}

export interface Mapping {
  start: bigint;
  length: bigint;
  origin: Origin;
  /** Where `start` lies from the address that the origin returned. */
  delta: bigint;
  /** What is mapped, and from which offset of it. */
  file?: OpenFd;
  offset: bigint;
}

/** How many former mappings are remembered. */
const FORMER_MAPPINGS = 64;

interface ProcessState {
  fds: Map<number, OpenFd>;
  mappings: Mapping[];
  /** What was closed last under a number, and what was unmapped, newest first: tests use them on purpose. */
  closed: Map<number, OpenFd>;
  unmapped: Mapping[];
}

function copyOf(state: ProcessState | undefined): ProcessState {
  return {
    fds: new Map(state?.fds),
    mappings: [...(state?.mappings ?? [])],
    closed: new Map(state?.closed),
    unmapped: [...(state?.unmapped ?? [])],
  };
}

/** Region index in the offset of a vfio-pci device fd. */
export const REGION_SHIFT = 40n;

function kindOfPath(path: string): OpenFd['kind'] {
  if (path === '/dev/vfio/vfio') return 'container';
  if (/^\/dev\/vfio\/(noiommu-)?\d+$/.test(path)) return 'group';
  if (/^\/dev\/vfio\/devices\/vfio\d+$/.test(path)) return 'device';
  if (path === '/dev/iommu') return 'iommufd';
  if (path === '/dev/kvm') return 'kvm';
  return 'file';
}

/** The NUL-terminated string at an offset of the arena. */
export function stringAt(arena: Buffer, offset: number): string {
  const end = arena.indexOf(0, offset);
  return arena.toString('utf8', offset, end < 0 ? arena.length : end);
}

export function signed(value: bigint): number {
  return Number(BigInt.asIntN(32, value));
}

export class Tracker {
  readonly #processes = new Map<string, ProcessState>();
  /** Results of fork, by pid. */
  readonly children = new Map<number, Origin>();

  #state(process: string): ProcessState {
    let state = this.#processes.get(process);
    if (!state) {
      // A process that we have not seen yet began with what its parent had.
      state = copyOf(process === 'here' ? undefined : this.#state('here'));
      this.#processes.set(process, state);
    }
    return state;
  }

  fd(process: string, number: number): OpenFd | undefined {
    return this.#state(process).fds.get(number);
  }

  /** All open fds of a process. */
  fds(process: string): ReadonlyMap<number, OpenFd> {
    return this.#state(process).fds;
  }

  mapping(process: string, address: bigint): Mapping | undefined {
    return this.#state(process).mappings.find(
      ({ start, length }) => address >= start && address < start + length,
    );
  }

  /** What was last known under this number, if it is closed now. */
  closedFd(process: string, number: number): OpenFd | undefined {
    return this.#state(process).closed.get(number);
  }

  /** The mapping that was last at this address, if there is none now. */
  formerMapping(process: string, address: bigint): Mapping | undefined {
    return this.#state(process).unmapped.find(
      ({ start, length }) => address >= start && address < start + length,
    );
  }

  /** Lets a process that was not seen yet begin with what another tracker knows of the first one. */
  begin(process: string, from: Tracker): void {
    this.#processes.set(process, copyOf(from.#state('here')));
  }

  /** A copy that later calls do not change. */
  snapshot(): Tracker {
    const copy = new Tracker();
    for (const [name, state] of this.#processes) copy.#processes.set(name, copyOf(state));
    for (const [pid, origin] of this.children) copy.children.set(pid, origin);
    return copy;
  }

  /** The ioctl that a call makes, if the fd is known and the number fits it. */
  ioctlOf(call: Call): Ioctl | undefined {
    const open = this.fd(call.process, signed(call.values[0] ?? 0n));
    if (!open || ['eventfd', 'dmabuf', 'file', 'other'].includes(open.kind)) return undefined;
    return findIoctl(open.kind as FdKind, requestOf(call), open.model);
  }

  /** Takes over what a call did. */
  apply(call: Call): void {
    if (!reached(call)) return;
    const { op, values, process } = call;
    const state = this.#state(process);
    const result = Number(op.result);
    const origin: Origin = { kind: 'result', run: call.run, index: call.index };
    const value = (index: number) => values[index] ?? 0n;

    if (op.name === 'fork') {
      if (result > 0) {
        this.children.set(result, origin);
        this.#processes.set(`child ${result}`, copyOf(state));
      }
      return;
    }
    // close() gives the number free whatever it returns, but for EBADF.
    if (op.name === 'close') this.#close(state, signed(value(0)));
    if (op.result < 0n) return;

    switch (op.name) {
      case 'mmap': {
        const address = BigInt.asUintN(64, op.result);
        const file =
          (Number(value(3)) & MAP_ANONYMOUS) === 0 ? state.fds.get(signed(value(4))) : undefined;
        this.#unmap(state, address, value(1));
        state.mappings.push({
          start: address,
          length: value(1),
          origin,
          delta: 0n,
          file,
          offset: file ? value(5) : 0n,
        });
        return;
      }
      case 'mremap': {
        const old = this.mapping(process, value(0));
        if ((Number(value(3)) & MREMAP_DONTUNMAP) === 0) this.#unmap(state, value(0), value(1));
        state.mappings.push({
          start: BigInt.asUintN(64, op.result),
          length: value(2),
          origin,
          delta: 0n,
          file: old?.file,
          offset: (old?.offset ?? 0n) + value(0) - (old?.start ?? value(0)),
        });
        return;
      }
      case 'munmap':
        this.#unmap(state, value(0), value(1));
        return;
      case 'close_range':
        for (const number of state.fds.keys())
          if (BigInt(number) >= value(0) && BigInt(number) <= value(1)) this.#close(state, number);
        return;
      case 'dup':
      case 'dup3':
        this.#duplicate(state, signed(value(0)), result, origin);
        return;
      case 'fcntl':
        if (value(1) === BigInt(F_DUPFD) || value(1) === BigInt(F_DUPFD_CLOEXEC))
          this.#duplicate(state, signed(value(0)), result, origin);
        return;
      case 'openat': {
        const path = op.args[1]?.kind === 'arena' ? stringAt(call.before, op.args[1].offset) : '?';
        state.fds.set(result, { kind: kindOfPath(path), label: path, origin });
        return;
      }
      case 'eventfd2':
        state.fds.set(result, { kind: 'eventfd', label: 'eventfd', origin });
        return;
      case 'socketpair':
      case 'pipe2': {
        const at = op.args[op.name === 'pipe2' ? 0 : 3];
        if (at?.kind !== 'arena') return;
        const label = op.name === 'pipe2' ? 'pipe' : 'socket';
        for (const offset of [at.offset, at.offset + 4])
          state.fds.set(call.after.readInt32LE(offset), {
            kind: 'other',
            label,
            origin: { kind: 'arena', run: call.run, offset },
          });
        return;
      }
      case 'ioctl':
        this.#applyIoctl(call, state, origin);
        return;
      case 'pread':
        this.#learnConfig(call, state);
        return;
      default:
        if (signatureOf(op.name).result === 'fd')
          state.fds.set(result, { kind: 'other', label: labelOf(call), origin });
    }
  }

  #close(state: ProcessState, number: number): void {
    const open = state.fds.get(number);
    if (open) state.closed.set(number, open);
    state.fds.delete(number);
  }

  #duplicate(state: ProcessState, from: number, to: number, origin: Origin): void {
    const open = state.fds.get(from);
    state.fds.set(
      to,
      open ? { ...open, origin } : { kind: 'other', label: `dup of ${from}`, origin },
    );
  }

  #unmap(state: ProcessState, start: bigint, length: bigint): void {
    const end = start + length;
    state.mappings = state.mappings.flatMap((mapping) => {
      const mappingEnd = mapping.start + mapping.length;
      if (mappingEnd <= start || mapping.start >= end) return [mapping];
      const parts: Mapping[] = [];
      state.unmapped.unshift(mapping);
      state.unmapped.splice(FORMER_MAPPINGS);
      if (mapping.start < start) parts.push({ ...mapping, length: start - mapping.start });
      if (mappingEnd > end) {
        const cut = end - mapping.start;
        parts.push({
          ...mapping,
          start: end,
          length: mappingEnd - end,
          delta: mapping.delta + cut,
          offset: mapping.offset + cut,
        });
      }
      return parts;
    });
  }

  #applyIoctl(call: Call, state: ProcessState, origin: Origin): void {
    const number = signed(call.values[0] ?? 0n);
    const open = state.fds.get(number);
    const ioctl = this.ioctlOf(call);
    if (!open || !ioctl) return;
    const argument = call.op.args[2];
    const result = Number(call.op.result);
    if (ioctl.name === 'VFIO_SET_IOMMU')
      state.fds.set(number, { ...open, model: Number(call.values[2] ?? 0n) });
    if (ioctl.returns)
      state.fds.set(result, { kind: ioctl.returns, label: labelOfNew(call, ioctl), origin });
    if (argument?.kind !== 'arena' || !ioctl.struct) return;

    // New fds that the kernel left in the argument: of a migration stream, of a device of KVM.
    const { struct: layout } = ioctl;
    const offsets = fdOffsets(layout, call.after.subarray(argument.offset));
    for (const offset of offsets) {
      const at = argument.offset + offset;
      const after = call.after.readInt32LE(at);
      if (after < 0 || after === call.before.readInt32LE(at)) continue;
      const kind = ioctl.fd === 'kvm-vm' ? 'kvm-device' : 'migration';
      state.fds.set(after, {
        kind,
        label: kind,
        origin: { kind: 'arena', run: call.run, offset: at },
      });
    }
    if (ioctl.name === 'VFIO_DEVICE_FEATURE') {
      const flags = call.before.readUInt32LE(argument.offset + 4);
      const isDmabuf =
        (flags & VFIO_DEVICE_FEATURE_MASK) === VFIO_DEVICE_FEATURE_DMA_BUF &&
        (flags & VFIO_DEVICE_FEATURE_GET) !== 0 &&
        (flags & VFIO_DEVICE_FEATURE_PROBE) === 0;
      if (isDmabuf) state.fds.set(result, { kind: 'dmabuf', label: 'dmabuf', origin });
    }
  }

  #learnConfig(call: Call, state: ProcessState): void {
    const open = state.fds.get(signed(call.values[0] ?? 0n));
    const buffer = call.op.args[1];
    const position = call.values[3] ?? 0n;
    if (open?.kind !== 'device' || position >> REGION_SHIFT !== 7n || buffer?.kind !== 'arena')
      return;
    open.config ??= new Map();
    const start = Number(position & ((1n << REGION_SHIFT) - 1n));
    for (let i = 0; i < Number(call.op.result); i++)
      open.config.set(start + i, call.after[buffer.offset + i] ?? 0);
  }
}

/** The ioctl number of a call. */
export function requestOf(call: Call): number {
  return Number((call.values[1] ?? 0n) & 0xffffffffn);
}

/** Offsets of the fds in an argument that begins with this struct: in its fields, and behind them. */
function fdOffsets(layout: Struct<unknown>, bytes: Buffer): number[] {
  return meaningOffsets(layout, bytes, 'fd');
}

/** Offsets of the fields of a meaning in an argument; only those that lie within `bytes`. */
export function meaningOffsets(
  layout: Struct<unknown>,
  bytes: Buffer,
  meaning: 'fd' | 'address',
): number[] {
  const offsets: number[] = [];
  const visit = (struct: Struct<unknown>, base: number) => {
    for (const { offset, field } of struct.fields.values()) {
      if ('fields' in field) visit(field as Struct<unknown>, base + offset);
      else if (field.meaning === meaning && base + offset + field.size <= bytes.length)
        offsets.push(base + offset);
    }
    const tail = struct.tail?.meaning?.(struct.decode(bytes, base));
    if (!tail) return;
    const { element, count = 0 } = tail;
    for (
      let i = 0, at = base + struct.tailOffset;
      i < count && at + element.size <= bytes.length;
      i++
    ) {
      if ('fields' in element) visit(element as Struct<unknown>, at);
      else if (element.meaning === meaning) offsets.push(at);
      at += element.size;
    }
  };
  visit(layout, 0);
  return offsets;
}

function labelOf(call: Call): string {
  const first = call.op.args[0];
  if (call.op.name === 'memfd_create' && first?.kind === 'arena')
    return `memfd:${stringAt(call.before, first.offset)}`;
  return call.op.name.replace(/(_create1?|_open|_getfd|4)$/, '');
}

function labelOfNew(call: Call, ioctl: Ioctl): string {
  const argument = call.op.args[2];
  if (ioctl.argument === 'string' && argument?.kind === 'arena')
    return stringAt(call.before, argument.offset);
  return String(ioctl.returns);
}
