import { sys, type Width } from '../shim/index.ts';
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../abi/libc.ts';
import { Answer } from '../kernel/answer.ts';
import { ByteSpace } from '../kernel/byte-space.ts';
import type { InfoCapability } from './capability-chain.ts';
import { ImpossibleAnswer } from './impossible-answer.ts';

/** VFIO_DEVICE_GET_REGION_INFO, decoded. */
export interface RegionInfo {
  argsz: number;
  flags: number;
  index: number;
  cap_offset: number;
  size: bigint;
  offset: bigint;
  capabilities: InfoCapability[];
}

/** A region of a device: config space, a BAR, the ROM, VGA. Offsets are relative to the region. */
export class Region extends ByteSpace {
  readonly #fd: number;
  readonly info: RegionInfo;

  constructor(fd: number, info: RegionInfo) {
    super();
    this.#fd = fd;
    this.info = info;
  }

  override get size(): number {
    return Number(this.info.size);
  }

  /** pread of `length` bytes; the value holds what arrived (zeros beyond). */
  tryRead(offset: number | bigint, length: number): Answer<Buffer> {
    const buffer = Buffer.alloc(length);
    const result = sys.pread(this.#fd, buffer, this.info.offset + BigInt(offset));
    return new Answer(`pread of region ${this.info.index} at ${offset}`, result, buffer);
  }

  /** Exactly `length` bytes. @throws ImpossibleAnswer if the kernel gave another number. */
  override read(offset: number | bigint, length: number): Buffer {
    const answer = this.tryRead(offset, length);
    expectLength(answer, length);
    return answer.value;
  }

  tryWrite(offset: number | bigint, bytes: Uint8Array): Answer {
    const result = sys.pwrite(this.#fd, Buffer.from(bytes), this.info.offset + BigInt(offset));
    return new Answer(`pwrite of region ${this.info.index} at ${offset}`, result, undefined);
  }

  /** Writes all bytes. @throws ImpossibleAnswer if the kernel took another number. */
  override write(offset: number | bigint, bytes: Uint8Array): void {
    expectLength(this.tryWrite(offset, bytes), bytes.length);
  }

  /** The value is the address, or 0n on failure. */
  tryMap({
    offset = 0n,
    size = this.info.size,
    prot = PROT_READ | PROT_WRITE,
    flags = MAP_SHARED,
  }: {
    offset?: bigint;
    size?: bigint;
    prot?: number;
    flags?: number;
  } = {}): Answer<Mapping | null> {
    const result = sys.mmap(0n, Number(size), prot, flags, this.#fd, this.info.offset + offset);
    const ok = result > 0;
    return new Answer(
      `mmap of region ${this.info.index}`,
      ok ? 0 : Number(result),
      ok ? new Mapping(BigInt(result), size) : null,
    );
  }

  map(options?: Parameters<Region['tryMap']>[0]): Mapping {
    return this.tryMap(options).get()!;
  }
}

function expectLength(answer: Answer<unknown>, length: number): void {
  if (answer.must() !== length) {
    throw new ImpossibleAnswer(answer.call, String(length), String(answer.result));
  }
}

let onMapping: (mapping: Mapping) => void = () => {};

/** From now on each new mapping is handed to this: whoever ends a test has to unmap it. */
export function watchMappings(watch: (mapping: Mapping) => void): void {
  onMapping = watch;
}

/** Device memory mapped into this process; every access is guarded. */
export class Mapping {
  readonly address: bigint;
  readonly size: bigint;
  #mapped = true;

  constructor(address: bigint, size: bigint) {
    this.address = address;
    this.size = size;
    onMapping(this);
  }

  /** The value is what was loaded; EIO for SIGBUS, EFAULT for SIGSEGV. */
  tryLoad(width: Width, offset: number | bigint): Answer<bigint> {
    const { result, value } = sys.load(width, this.address + BigInt(offset));
    return new Answer(`load of ${width} bits at ${offset}`, result, value);
  }

  load(width: Width, offset: number | bigint): bigint {
    return this.tryLoad(width, offset).get();
  }

  load32(offset: number): number {
    return Number(this.load(32, offset));
  }

  tryStore(width: Width, offset: number | bigint, value: number | bigint): Answer {
    const result = sys.store(width, this.address + BigInt(offset), value);
    return new Answer(`store of ${width} bits at ${offset}`, result, undefined);
  }

  store(width: Width, offset: number | bigint, value: number | bigint): void {
    this.tryStore(width, offset, value).must();
  }

  store32(offset: number, value: number): void {
    this.store(32, offset, value);
  }

  unmap(): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    sys.munmap(this.address, Number(this.size));
  }
}
