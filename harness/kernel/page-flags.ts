import { closeSync, existsSync, openSync, readSync } from 'node:fs';

const PAGE = 4096n;
/** Bits 0–54 of an entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst). */
const FRAME = (1n << 55n) - 1n;
/** `<linux/kernel-page-flags.h>` */
const KPF_DIRTY = 4n;

/** Whether the kernel tells the flags of pages, and this user may ask. */
export function tellsPageFlags(): boolean {
  return process.getuid?.() === 0 && existsSync('/proc/kpageflags');
}

function readWord(path: string, index: bigint): bigint {
  const fd = openSync(path, 'r');
  try {
    const word = Buffer.alloc(8);
    readSync(fd, word, 0, 8, index * 8n);
    return word.readBigUInt64LE();
  } finally {
    closeSync(fd);
  }
}

/** The page frame behind an address of this process; it must be present. */
export function pageFrame(address: bigint): bigint {
  return readWord('/proc/self/pagemap', address / PAGE) & FRAME;
}

/** Whether a page frame is marked as changed since it was last written back. */
export function isDirtyPage(frame: bigint): boolean {
  return ((readWord('/proc/kpageflags', frame) >> KPF_DIRTY) & 1n) === 1n;
}
