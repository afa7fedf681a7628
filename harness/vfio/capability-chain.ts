import { ImpossibleAnswer } from './impossible-answer.ts';

/** A `vfio_info_cap_header` and what follows it (include/uapi/linux/vfio.h). */
export interface InfoCapability {
  id: number;
  version: number;
  /** Offset of the header from the start of the info structure. */
  offset: number;
  /** Offset of the next header, 0 at the end. */
  next: number;
  /** From the header to the next capability, or to the end of the buffer. */
  bytes: Buffer;
}

/**
 * Walks the capability chain of an info structure.
 * @param first `cap_offset`; 0 for an empty chain.
 * @throws ImpossibleAnswer if the chain leaves the buffer, steps into the fixed part, or cycles.
 */
export function walkCapabilities(info: Buffer, first: number, fixedSize: number): InfoCapability[] {
  const HEADER_SIZE = 8;
  const chain: InfoCapability[] = [];
  const seen = new Set<number>();
  for (let offset = first; offset !== 0;) {
    if (seen.has(offset)) {
      throw new ImpossibleAnswer('chain of capabilities', 'an end', `a cycle at offset ${offset}`);
    }
    const isInside = offset >= fixedSize && offset + HEADER_SIZE <= info.length;
    if (!isInside || offset % 4 !== 0) {
      const place = `an aligned offset within ${fixedSize}…${info.length}`;
      throw new ImpossibleAnswer('capability', place, String(offset));
    }
    seen.add(offset);
    const next = info.readUInt32LE(offset + 4);
    chain.push({
      id: info.readUInt16LE(offset),
      version: info.readUInt16LE(offset + 2),
      offset,
      next,
      bytes: info.subarray(offset, next > offset ? next : undefined),
    });
    offset = next;
  }
  return chain;
}
