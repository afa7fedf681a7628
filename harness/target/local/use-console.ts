import { join } from 'node:path';
import { classDevicesBelow, namesIn, readText } from './files.ts';
import type { Roots, Use } from './use.ts';

/** Whether the function is a console of the kernel's, or what the firmware shows itself on. */
export function consoleUses(path: string, { sys, proc }: Roots): Use[] {
  const consoles = readText(join(proc, 'consoles'))
    .split('\n')
    .map((line) => line.split(' ', 1)[0] ?? '');
  const uses = classDevicesBelow(path, 'tty', sys)
    .filter((name) => consoles.includes(name))
    .map((name) => `${name} is a console of the kernel`);
  if (consoles.includes('tty0') && framebufferConsole(sys))
    for (const name of classDevicesBelow(path, 'graphics', sys))
      uses.push(`${name} is a console of the kernel`);
  if (readText(join(path, 'boot_vga')) === '1') uses.push('it is the boot GPU');
  return uses.map((what) => ({ what, forcible: true }));
}

/** Whether the text console is drawn on a framebuffer (Documentation/ABI/testing/sysfs-class-vtconsole). */
function framebufferConsole(sys: string): boolean {
  const folder = join(sys, 'class/vtconsole');
  return namesIn(folder).some(
    (name) =>
      readText(join(folder, name, 'bind')) === '1' &&
      readText(join(folder, name, 'name')).includes('frame buffer'),
  );
}
