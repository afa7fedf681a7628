import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Sizes of small objects of the kernel. */
const SIZES = [32, 64, 96, 120];
const OBJECTS = 100;

/**
 * Leaves small objects full of `k` in the free memory of the kernel: targets of symbolic links, which tmpfs
 * keeps as they are. A kernel that wipes what it allocates (init_on_alloc) shows them to nobody.
 */
export function litterFreedMemory(): void {
  const folder = mkdtempSync(join(tmpdir(), 'links-'));
  for (const size of SIZES) {
    for (let index = 0; index < OBJECTS; index++) {
      symlinkSync('k'.repeat(size - 1), join(folder, `${size}-${index}`));
    }
  }
  rmSync(folder, { recursive: true });
}
