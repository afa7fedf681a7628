const SIZE = 1024;

/**
 * A PCI option ROM of 1 KiB that Linux accepts (signature, PCIR structure, last image) and that no
 * firmware executes, because its code type is `EFI` and it holds no code. QEMU's own network boot
 * ROMs would each cost seconds of emulated start-up.
 */
export function optionRom(): Buffer {
  const rom = Buffer.alloc(SIZE);
  rom.writeUInt16LE(0xaa55, 0);
  rom.writeUInt8(SIZE / 512, 2);
  const pcir = 0x1c;
  rom.writeUInt16LE(pcir, 0x18);
  rom.write('PCIR', pcir, 'latin1');
  rom.writeUInt16LE(0x1c, pcir + 10);
  rom.writeUInt16LE(SIZE / 512, pcir + 16);
  rom.writeUInt8(3, pcir + 20);
  rom.writeUInt8(0x80, pcir + 21);
  for (let i = 0x40; i < SIZE; i++) rom[i] = i & 0xff;
  return rom;
}
