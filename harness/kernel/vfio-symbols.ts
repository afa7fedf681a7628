import { readFileSync } from 'node:fs';

/** A function of the kernel's. */
export interface KernelFunction {
  name: string;
  start: bigint;
  end: bigint;
}

/** Text, global and local (man nm). */
const TEXT = /[tTwW]/;
/** What compilers and linkers add: no function that anybody calls. */
const NOT_CALLED = /^(__pfx_|__cfi_|__gcov_|__SCT__|_sub_)/;
/**
 * Functions between two of VFIO's, at most, that are VFIO's as well although they are not called so: the
 * linker puts what is of one folder together.
 */
const BETWEEN = 16;

interface Symbol {
  address: bigint;
  name: string;
  /** Null if it is part of the kernel itself. */
  module: string | null;
  isVfio: boolean;
}

/** The functions of VFIO in a /proc/kallsyms, by address; each ends where the next symbol begins. */
export function vfioFunctions(kallsyms: string): KernelFunction[] {
  const symbols = kallsyms
    .split('\n')
    .flatMap((line) => symbolOf(line) ?? [])
    .sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  markBetween(symbols.filter(({ module }) => module === null));
  const functions: KernelFunction[] = [];
  symbols.forEach(({ address, name, isVfio }, index) => {
    const end = symbols
      .slice(index + 1, index + 1 + BETWEEN)
      .find((next) => next.address > address);
    if (isVfio && end && !NOT_CALLED.test(name)) {
      functions.push({ name, start: address, end: end.address });
    }
  });
  return functions;
}

/** `ADDRESS TYPE NAME [MODULE]` */
function symbolOf(line: string): Symbol | null {
  const [address, type = '', name, module] = line.split(/\s+/);
  if (!address || !name || !TEXT.test(type)) return null;
  const isVfio = module ? module.startsWith('[vfio') : name.includes('vfio');
  return { address: BigInt(`0x${address}`), name, module: module ?? null, isVfio };
}

function markBetween(symbols: Symbol[]): void {
  let last = -Infinity;
  symbols.forEach(({ isVfio }, index) => {
    if (!isVfio) return;
    if (index - last <= BETWEEN) {
      for (let between = last + 1; between < index; between++) symbols[between]!.isVfio = true;
    }
    last = index;
  });
}

/** Where the linker put the kernel on x86: CONFIG_PHYSICAL_START above __START_KERNEL_map. */
const LINKED_AT = 0xffff_ffff_8100_0000n;

/** By how much the kernel lies elsewhere than where it was linked (KASLR), as far as that can be told. */
export function kernelShift(kallsyms: string): bigint {
  const text = /^([0-9a-f]+) T _text$/m.exec(kallsyms)?.[1];
  return text === undefined || process.arch !== 'x64' ? 0n : BigInt(`0x${text}`) - LINKED_AT;
}

export function readKallsyms(): string {
  return readFileSync('/proc/kallsyms', 'latin1');
}
