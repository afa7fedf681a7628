import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isPackage, projectFolder } from '../../setup/paths.mjs';

/** The version in package.json. */
export function programVersion(): string {
  const text = readFileSync(join(projectFolder, 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** How the user called `run`, so that what is printed can be pasted: `npm start --` or the program itself. */
export function runInvocation(env: NodeJS.ProcessEnv = process.env): string {
  if (env['npm_lifecycle_event'] === 'start') return 'npm start --';
  return isPackage ? 'vfio-conformance run' : 'npx vfio-conformance run';
}

/** A word of a command line, quoted for the shell if it needs to be. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
