import { existsSync, readFileSync } from 'node:fs';

const REFRESH = '/proc/sys/vm/stat_refresh';

/**
 * Pages that are pinned for devices on this machine (pin_user_pages: Documentation/core-api/
 * pin_user_pages.rst), counted with each pin. Null if this user or kernel does not tell.
 */
export function pinnedPages(): number | null {
  if (process.getuid?.() !== 0 || !existsSync(REFRESH)) return null;
  // Each CPU keeps what it counted last to itself; this collects it.
  readFileSync(REFRESH);
  const vmstat = readFileSync('/proc/vmstat', 'utf8');
  const counter = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(vmstat)?.[1]);
  const pinned = counter('nr_foll_pin_acquired') - counter('nr_foll_pin_released');
  return Number.isNaN(pinned) ? null : pinned;
}
