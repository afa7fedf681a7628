import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { projectFolder } from '../../setup/paths.mjs';
import { checkCommandLine } from './command-line.ts';

const FILES = [
  'README.md',
  ...readdirSync(join(projectFolder, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
];

/** The command lines of this program in the examples of a document; what `npm start` gets goes to `run`. */
function examples(text: string): string[] {
  return [...text.matchAll(/^```sh\n(.*?)^```/gms)]
    .flatMap(([, block = '']) => block.split('\n'))
    .map((line) => line.replace(/ +# .*/, '').replace(/ > \S+$/, ''))
    .map((line) => line.replace(/^npm start (--silent )?-- /, 'vfio-conformance run '))
    .filter((line) => /^(npx )?vfio-conformance /.test(line));
}

/** The words of a line without variables. */
function words(line: string): string[] {
  return (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll("'", ''));
}

const lines = FILES.flatMap((file) =>
  examples(readFileSync(join(projectFolder, file), 'utf8')).map((line) => [file, line] as const),
);

it('are many', () => expect(lines.length).toBeGreaterThan(30));

it.each(lines)('%s: %s', (_file, line) =>
  checkCommandLine(words(line.replace(/^(npx )?vfio-conformance /, ''))),
);

it('link to what comes along in the package', () => {
  const pack = ['pack', '--dry-run', '--json', '--ignore-scripts'];
  const listed = execFileSync('npm', pack, {
    cwd: projectFolder,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [{ files }] = JSON.parse(listed.toString()) as [{ files: { path: string }[] }];
  const packed = files.map(({ path }) => path);
  const links = FILES.flatMap((file) =>
    [...readFileSync(join(projectFolder, file), 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(
      ([, to = '']) => join(dirname(file), to),
    ),
  );
  const missing = links.filter(
    (to) => !packed.some((path) => path === to || path.startsWith(`${to}/`)),
  );
  expect(missing).toEqual([]);
});
