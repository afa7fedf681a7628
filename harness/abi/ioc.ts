/**
 * How `<asm/ioctl.h>` builds ioctl numbers. Most architectures share asm-generic's layout; powerpc,
 * mips, sparc and alpha have three direction bits instead of two, and give "none" a bit of its own,
 * so that even `_IO()` differs there.
 */

interface Layout {
  sizeBits: number;
  none: number;
  read: number;
  write: number;
}

const GENERIC: Layout = { sizeBits: 14, none: 0, read: 2, write: 1 };
const THREE_DIRECTION_BITS: Layout = { sizeBits: 13, none: 1, read: 2, write: 4 };

/** Node's names of the architectures whose `<asm/ioctl.h>` is not asm-generic's. */
const WITH_THREE_DIRECTION_BITS = ['ppc', 'ppc64', 'mips', 'mipsel'];

const NR_BITS = 8;
const TYPE_BITS = 8;

function layoutOf(arch: string): Layout {
  return WITH_THREE_DIRECTION_BITS.includes(arch) ? THREE_DIRECTION_BITS : GENERIC;
}

function ioc(
  direction: number,
  type: string | number,
  nr: number,
  size: number,
  sizeBits: number,
): number {
  const letter = typeof type === 'string' ? type.charCodeAt(0) : type;
  const number =
    direction * 2 ** (NR_BITS + TYPE_BITS + sizeBits) +
    size * 2 ** (NR_BITS + TYPE_BITS) +
    letter * 2 ** NR_BITS +
    nr;
  return number >>> 0;
}

/** `_IO(type, nr)`: unsigned 32-bit; `arch` as in `process.arch`. */
export function _IO(type: string | number, nr: number, arch: string = process.arch): number {
  const layout = layoutOf(arch);
  return ioc(layout.none, type, nr, 0, layout.sizeBits);
}

/** `_IOR(type, nr, size)`: the kernel writes `size` bytes for the caller to read. */
export function _IOR(
  type: string | number,
  nr: number,
  size: number,
  arch: string = process.arch,
): number {
  const layout = layoutOf(arch);
  return ioc(layout.read, type, nr, size, layout.sizeBits);
}

/** `_IOW(type, nr, size)`: the kernel reads `size` bytes from the caller. */
export function _IOW(
  type: string | number,
  nr: number,
  size: number,
  arch: string = process.arch,
): number {
  const layout = layoutOf(arch);
  return ioc(layout.write, type, nr, size, layout.sizeBits);
}

/** `_IOWR(type, nr, size)`: both ways. */
export function _IOWR(
  type: string | number,
  nr: number,
  size: number,
  arch: string = process.arch,
): number {
  const layout = layoutOf(arch);
  return ioc(layout.read | layout.write, type, nr, size, layout.sizeBits);
}
