import { readFileSync } from 'node:fs';

/**
 * The flags of the memory area of a process, this one by default, that holds `address`, as smaps names them
 * (Documentation/filesystems/proc.rst, VmFlags): `rd`, `wr`, `sh`, `io`, `pf`, `de`, `dd`, … Null if nothing is there.
 */
export function vmFlags(address: bigint, pid: number | 'self' = 'self'): string[] | null {
  let inside = false;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (range) {
      inside = BigInt(`0x${range[1]}`) <= address && address < BigInt(`0x${range[2]}`);
    } else if (inside && line.startsWith('VmFlags:')) {
      return line.slice('VmFlags:'.length).trim().split(/\s+/);
    }
  }
  return null;
}
