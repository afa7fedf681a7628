/** The file descriptors and mappings of one process at one moment of a recorded program. */
import type { FdKind, Ioctl } from '../abi/ioctl.ts';
import { requestOf, signed, valueOf, type Call } from './call.ts';
import { findIoctl } from './ioctls.ts';

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

function at(mappings: readonly Mapping[], address: bigint): Mapping | undefined {
  return mappings.find(({ start, length }) => address >= start && address < start + length);
}

export class ProcessState {
  readonly fds: Map<number, OpenFd>;
  /** What was closed last under a number, and what was unmapped, newest first: tests use them on purpose. */
  readonly closed: Map<number, OpenFd>;
  #mappings: Mapping[];
  readonly #unmapped: Mapping[];

  /** @param parent whose copy it begins as */
  constructor(parent?: ProcessState) {
    this.fds = new Map(parent?.fds);
    this.closed = new Map(parent?.closed);
    this.#mappings = [...(parent ? parent.#mappings : [])];
    this.#unmapped = [...(parent ? parent.#unmapped : [])];
  }

  /** The ioctl that a call makes, if the fd is known and the number fits it. */
  ioctlOf(call: Call): Ioctl | undefined {
    const open = this.fds.get(signed(valueOf(call, 0)));
    if (!open || ['eventfd', 'dmabuf', 'file', 'other'].includes(open.kind)) return undefined;
    return findIoctl(open.kind as FdKind, requestOf(call), open.model);
  }

  close(number: number): void {
    const open = this.fds.get(number);
    if (open) this.closed.set(number, open);
    this.fds.delete(number);
  }

  duplicate(from: number, to: number, origin: Origin): void {
    const open = this.fds.get(from);
    this.fds.set(
      to,
      open ? { ...open, origin } : { kind: 'other', label: `dup of ${from}`, origin },
    );
  }

  /** The mapping at an address. */
  mapping(address: bigint): Mapping | undefined {
    return at(this.#mappings, address);
  }

  /** The mapping that was last at an address. */
  formerMapping(address: bigint): Mapping | undefined {
    return at(this.#unmapped, address);
  }

  /** Maps over what is there. */
  map(mapping: Omit<Mapping, 'delta'>): void {
    this.unmap(mapping.start, mapping.length);
    this.#mappings.push({ ...mapping, delta: 0n });
  }

  unmap(start: bigint, length: bigint): void {
    const end = start + length;
    this.#mappings = this.#mappings.flatMap((mapping) => {
      const mappingEnd = mapping.start + mapping.length;
      if (mappingEnd <= start || mapping.start >= end) return [mapping];
      const parts: Mapping[] = [];
      this.#unmapped.unshift(mapping);
      this.#unmapped.splice(FORMER_MAPPINGS);
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
}
