import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where the one segment of the program is loaded: all of the file, writable and executable. */
const BASE = 0x0804_8000;
const ELF_HEADER = 52;
const PROGRAM_HEADER = 32;
const ENTRY = ELF_HEADER + PROGRAM_HEADER;
const PAGE = 4096;
/** The fd of the ioctl in the program. */
const FD = 3;
const STDOUT = 1;
/** arch/x86/entry/syscalls/syscall_32.tbl */
const [EXIT, WRITE, IOCTL] = [1, 4, 54];

/** What a 32-bit program was answered: the return value or -errno, and the argument as it was afterwards. */
export interface CompatAnswer {
  result: number;
  argument: Buffer;
}

const word = (value: number) => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** `mov $a,%eax; mov $b,%ebx; mov $c,%ecx; mov $d,%edx; int $0x80` */
function syscall(number: number, ...[first = 0, second = 0, third = 0]: number[]): number[] {
  const load = [number, first, second, third].map(word);
  const [eax, ebx, ecx, edx] = load as [number[], number[], number[], number[]];
  return [0xb8, ...eax, 0xbb, ...ebx, 0xb9, ...ecx, 0xba, ...edx, 0xcd, 0x80];
}

/** A program of i386 that makes one ioctl on {@link FD}, writes result and argument, and ends. */
function executable(request: number, argument: Buffer): Buffer {
  const lengthOfCode = 3 * syscall(EXIT).length + 5;
  const result = BASE + ENTRY + lengthOfCode;
  const code = [
    ...syscall(IOCTL, FD, request, result + 4),
    // mov %eax,result
    0xa3,
    ...word(result),
    ...syscall(WRITE, STDOUT, result, 4 + argument.length),
    ...syscall(EXIT),
  ];
  const size = ENTRY + lengthOfCode + 4 + argument.length;
  const elf = Buffer.alloc(size);
  // Elf32_Ehdr: EXEC, 386, one program header.
  elf.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1], 0);
  elf.set([2, 0, 3, 0, ...word(1), ...word(BASE + ENTRY), ...word(ELF_HEADER)], 16);
  elf.set([ELF_HEADER, 0, PROGRAM_HEADER, 0, 1, 0], 40);
  // Elf32_Phdr: LOAD at BASE, rwx.
  const segment = [1, 0, BASE, BASE, size, size, 7, PAGE];
  elf.set(segment.flatMap(word), ELF_HEADER);
  elf.set(code, ENTRY);
  argument.copy(elf, ENTRY + lengthOfCode + 4);
  return elf;
}

/** Makes an ioctl as a 32-bit program does. Null if this machine runs no such programs. */
export function compatIoctl(fd: number, request: number, argument: Buffer): CompatAnswer | null {
  if (process.arch !== 'x64') return null;
  const folder = mkdtempSync(join(tmpdir(), 'compat-'));
  try {
    const path = join(folder, 'ioctl');
    writeFileSync(path, executable(request, argument), { mode: 0o700 });
    const { stdout, error } = spawnSync(path, { stdio: ['ignore', 'pipe', 'ignore', fd] });
    if (error || stdout.length !== 4 + argument.length) return null;
    return { result: stdout.readInt32LE(0), argument: stdout.subarray(4) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Whether 32-bit programs run here. */
export function runsCompatPrograms(): boolean {
  // Of a pipe of the program's own nothing is asked: any answer will do.
  return compatIoctl(1, 0, Buffer.alloc(0)) !== null;
}
