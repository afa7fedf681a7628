import { existsSync, readFileSync, writeFileSync } from 'node:fs';

function path(module: string, name: string): string {
  return `/sys/module/${module}/parameters/${name}`;
}

/** A module's parameter as text, also of a module that is built in; null if there is none. */
export function moduleParameter(module: string, name: string): string | null {
  return existsSync(path(module, name)) ? readFileSync(path(module, name), 'utf8').trim() : null;
}

/** Sets a parameter (root). Returns what puts the old value back. */
export function setModuleParameter(module: string, name: string, value: string): () => void {
  const before = readFileSync(path(module, name), 'utf8').trim();
  writeFileSync(path(module, name), value);
  return () => writeFileSync(path(module, name), before);
}
