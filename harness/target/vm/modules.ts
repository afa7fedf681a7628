import { existsSync, readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** A module's name as the kernel knows it: `vfio_pci` for `…/vfio-pci.ko.xz`. */
export function moduleName(path: string): string {
  return (path.split('/').at(-1) ?? '').replace(/\.ko(\.(xz|zst|gz))?$/, '').replaceAll('-', '_');
}

/** modules.dep: what each module needs, by path relative to `lib/modules/RELEASE`. */
export type Dependencies = Map<string, { path: string; needs: string[] }>;

/** Reads modules.dep(5). */
export function parseModulesDep(text: string): Dependencies {
  const all: Dependencies = new Map();
  for (const line of text.split('\n')) {
    const [path, needs = ''] = line.split(':');
    if (path) all.set(moduleName(path), { path, needs: needs.trim().split(/\s+/).filter(Boolean) });
  }
  return all;
}

/**
 * Paths of the wanted modules and all they need, each after what it depends on. Names that are not
 * there are built into the kernel, or absent: that shows when something needs them.
 */
export function loadOrder(wanted: string[], dependencies: Dependencies): string[] {
  const order = new Set<string>();
  const visit = (name: string): void => {
    const entry = dependencies.get(name);
    if (!entry || order.has(entry.path)) return;
    // modules.dep lists all needs, direct and indirect, the deepest last.
    for (const need of [...entry.needs].reverse()) visit(moduleName(need));
    order.add(entry.path);
  };
  for (const name of wanted) visit(name.replaceAll('-', '_'));
  return [...order];
}

/** Those of the modules that a kernel has neither as a file nor built in; none if it does not say. */
export function absentModules(wanted: readonly string[], modulesDir: string): string[] {
  const lists = ['modules.dep', 'modules.builtin'].map((name) => join(modulesDir, name));
  if (!lists.every((list) => existsSync(list))) return [];
  const present = new Set(
    lists.flatMap((list) =>
      readFileSync(list, 'utf8')
        .split('\n')
        .map((line) => moduleName(line.split(':', 1)[0] ?? '')),
    ),
  );
  return wanted.filter((name) => !present.has(name));
}

/** A module's content as insmod takes it. */
export function readModule(modulesDir: string, path: string): Buffer {
  const file = join(modulesDir, path);
  const tool = { xz: 'xz', zst: 'zstd', gz: 'gzip' }[file.split('.').at(-1) ?? ''];
  if (!tool) return readFileSync(file);
  return execFileSync(tool, ['-dc', file], {
    maxBuffer: 256 << 20,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** `vfio_iommu_type1.allow_unsafe_interrupts=1` of a command line, by module. */
export function moduleParameters(words: string[]): Record<string, string> {
  const parameters: Record<string, string> = {};
  for (const word of words) {
    const match = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_]+(?:=.*)?)$/.exec(word);
    if (!match) continue;
    const module = (match[1] ?? '').replaceAll('-', '_');
    parameters[module] = [parameters[module], match[2]].filter(Boolean).join(' ');
  }
  return parameters;
}
