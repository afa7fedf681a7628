import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { findEmulatorFault, findPanic, lastLines } from './console.ts';
import { cpioArchive } from './cpio.ts';
import { keptFolders } from './guest-variables.ts';
import { shellAssignments } from './initramfs.ts';
import { moduleParameters } from './modules.ts';
import { optionRom } from './rom.ts';
import { extractElf, hasPvhEntry } from './vmlinux.ts';

it('writes the newc format: every header and content starts on four bytes', () => {
  const archive = cpioArchive([
    { path: 'bin', kind: 'directory' },
    { path: 'bin/hello', kind: 'file', mode: 0o755, content: Buffer.from('hello') },
    { path: 'sh', kind: 'link', target: 'bin/hello' },
    { path: 'dev/console', kind: 'character-device', major: 5, minor: 1 },
  ]);
  const seen: Record<string, { mode: number; content: string; rdev: number[] }> = {};
  for (let at = 0; at < archive.length;) {
    expect(archive.toString('latin1', at, at + 6)).toBe('070701');
    const field = (n: number): number =>
      parseInt(archive.toString('latin1', at + 6 + n * 8, at + 14 + n * 8), 16);
    const [size, nameSize] = [field(6), field(11)];
    const name = archive.toString('utf8', at + 110, at + 110 + nameSize - 1);
    const body = (at + 110 + nameSize + 3) & ~3;
    seen[name] = {
      mode: field(1),
      content: archive.toString('utf8', body, body + size),
      rdev: [field(9), field(10)],
    };
    at = (body + size + 3) & ~3;
  }
  expect(Object.keys(seen)).toEqual(['bin', 'bin/hello', 'sh', 'dev/console', 'TRAILER!!!']);
  expect(seen['bin/hello']).toMatchObject({ mode: 0o100755, content: 'hello' });
  expect(seen['sh']).toMatchObject({ mode: 0o120777, content: 'bin/hello' });
  expect(seen['dev/console']).toMatchObject({ mode: 0o020600, rdev: [5, 1] });
});

it('hands any text through the shell unchanged', () => {
  const text = `it's "$HOME" \\ \`x\`\nsecond`;
  const script = `${shellAssignments({ VALUE: text })}printf %s "$VALUE"`;
  expect(execFileSync('sh', ['-c', script]).toString()).toBe(text);
});

it('brings back what lies in a folder that is fresh in the guest', () => {
  expect(keptFolders(['/tmp/clone', '/root/project', '/tmporary'])).toEqual(['/tmp/clone']);
});

it('hands module parameters of the command line to insmod', () => {
  expect(
    moduleParameters(['quiet', 'vfio-pci.disable_vga=1', 'vfio_pci.nointxmask', 'iommu=nopt']),
  ).toEqual({ vfio_pci: 'disable_vga=1 nointxmask' });
});

it('makes an option ROM that Linux accepts and no firmware runs', () => {
  const rom = optionRom();
  expect(rom.readUInt16LE(0)).toBe(0xaa55);
  const pcir = rom.readUInt16LE(0x18);
  expect(rom.toString('latin1', pcir, pcir + 4)).toBe('PCIR');
  expect(rom.readUInt16LE(pcir + 16) * 512).toBe(rom.length);
  const [CODE_TYPE, EFI, INDICATOR, LAST] = [20, 3, 21, 0x80];
  expect(rom[pcir + CODE_TYPE]).toBe(EFI);
  expect(rom[pcir + INDICATOR]).toBe(LAST);
});

it('leaves alone what is not a kernel image', () => {
  expect(extractElf(Buffer.alloc(4096))).toBeUndefined();
  expect(hasPvhEntry(Buffer.from('#!/bin/sh\n'))).toBe(false);
});

it("tells a panic of Linux's from a fault of QEMU's", () => {
  const console = '[ 1.0] Kernel panic - not syncing: sysrq triggered crash\r\n[ 1.1] CPU: 0';
  expect(findPanic(console)).toBe('Kernel panic - not syncing: sysrq triggered crash');
  expect(findEmulatorFault('', console)).toBeUndefined();
  expect(
    findEmulatorFault("qemu-system-x86_64: iotlb_to_section: Assertion `x < y' failed.\n", ''),
  ).toContain('iotlb_to_section');
  const timer = "Kernel panic - not syncing: timer doesn't work through Interrupt-remapped IO-APIC";
  expect(findEmulatorFault('', timer)).toBe(timer);
  expect(lastLines('a\r\n\x1b[31mb\x1b[0m\r\n\r\nc\r\n', 2)).toEqual(['b', 'c']);
});
