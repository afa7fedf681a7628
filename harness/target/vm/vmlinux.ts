import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { cacheFolder } from '../../../setup/paths.mjs';
import { touch, removeLeastUsed } from './cache.ts';

/** Uncompressed kernels kept in the cache: 60 MB each. */
const KEPT = 6;
/** `XEN_ELFNOTE_PHYS32_ENTRY`: where a hypervisor enters the kernel directly (PVH). */
const PHYS32_ENTRY = 18;
const PT_NOTE = 4;

/**
 * The kernel in the form that boots fastest: uncompressed, so that the emulated CPU does not have
 * to unpack it (a quarter of the time until init). Kernels without a PVH entry, or in a compression
 * unknown here, stay as they are.
 * @returns path for QEMU's `-kernel`
 */
export function fastestImage(vmlinuz: string): string {
  const { size, mtimeMs } = statSync(vmlinuz);
  const key = createHash('sha256').update(`${vmlinuz} ${size} ${mtimeMs}`).digest('hex');
  const folder = join(cacheFolder, 'vmlinux');
  const file = join(folder, `${key.slice(0, 24)}.elf`);
  if (existsSync(file)) return touch(file);
  const elf = extractElf(readFileSync(vmlinuz));
  if (!elf || !hasPvhEntry(elf)) return vmlinuz;
  mkdirSync(folder, { recursive: true });
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, elf);
  renameSync(draft, file);
  removeLeastUsed(folder, '.elf', KEPT);
  return file;
}

/** The ELF file inside a bzImage (Documentation/arch/x86/boot.rst: payload_offset, payload_length). */
export function extractElf(image: Buffer): Buffer | undefined {
  if (image.length < 0x250 || image.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined;
  const setupSectors = image.readUInt8(0x1f1) || 4;
  const start = (setupSectors + 1) * 512 + image.readUInt32LE(0x248);
  const payload = image.subarray(start, start + image.readUInt32LE(0x24c));
  // The build appends the uncompressed size to what these two compressors made.
  const sized = payload.subarray(0, -4);
  try {
    switch (payload.toString('hex', 0, 4)) {
      case '28b52ffd':
        return unpack('zstd', ['-dcq'], sized);
      case 'fd377a58':
        return unpack('xz', ['-dcq', '--single-stream'], sized);
    }
    if (payload.toString('hex', 0, 2) === '1f8b') return gunzipSync(payload);
  } catch {
    // A damaged image, or not what it looked like: QEMU and Linux will say so.
  }
  return undefined;
}

/** Whether QEMU can enter this ELF file directly. */
export function hasPvhEntry(elf: Buffer): boolean {
  const isElf64 = elf.length > 64 && elf.toString('latin1', 1, 4) === 'ELF' && elf[4] === 2;
  if (!isElf64) return false;
  const table = Number(elf.readBigUInt64LE(32));
  const entrySize = elf.readUInt16LE(54);
  const count = elf.readUInt16LE(56);
  for (let i = 0; i < count; i++) {
    const header = table + i * entrySize;
    if (elf.readUInt32LE(header) !== PT_NOTE) continue;
    let at = Number(elf.readBigUInt64LE(header + 8));
    const end = at + Number(elf.readBigUInt64LE(header + 32));
    while (at + 12 <= end) {
      const nameSize = elf.readUInt32LE(at);
      const descSize = elf.readUInt32LE(at + 4);
      const name = elf.toString('latin1', at + 12, at + 12 + nameSize);
      if (elf.readUInt32LE(at + 8) === PHYS32_ENTRY && name === 'Xen\0') return true;
      at += 12 + ((nameSize + 3) & ~3) + ((descSize + 3) & ~3);
    }
  }
  return false;
}

function unpack(tool: string, args: string[], input: Buffer): Buffer {
  return execFileSync(tool, args, { input, maxBuffer: 1 << 30, stdio: 'pipe' });
}
