/** Something addressed by byte offsets: little-endian accesses of each width over whole reads and writes. */
export abstract class ByteSpace {
  /** Exactly `length` bytes. @throws Error if the kernel gave fewer. */
  abstract read(offset: number | bigint, length: number): Buffer;

  /** Writes all bytes. @throws Error if the kernel took fewer. */
  abstract write(offset: number | bigint, bytes: Uint8Array): void;

  abstract readonly size: number;

  /** Everything from the beginning to the end. */
  readAll(): Buffer {
    return this.read(0, this.size);
  }

  read8(offset: number): number {
    return this.read(offset, 1).readUInt8();
  }

  read16(offset: number): number {
    return this.read(offset, 2).readUInt16LE();
  }

  read32(offset: number): number {
    return this.read(offset, 4).readUInt32LE();
  }

  read64(offset: number): bigint {
    return this.read(offset, 8).readBigUInt64LE();
  }

  write8(offset: number, value: number): void {
    this.write(offset, Uint8Array.of(value & 0xff));
  }

  write16(offset: number, value: number): void {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(value & 0xffff);
    this.write(offset, bytes);
  }

  write32(offset: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
    this.write(offset, bytes);
  }

  write64(offset: number, value: bigint): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(value);
    this.write(offset, bytes);
  }
}
