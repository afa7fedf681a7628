import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, worker } from '../../setup/build.mjs';
import { projectFolder } from '../../setup/paths.mjs';
import { compileReproducer } from '../../harness/runner/reproduce/compile.ts';
import { GUEST_FILES, guestScript } from '../../harness/runner/reproduce/guest-script.ts';
import { readDossier } from '../../reports/dossier.ts';
import type { RunResults } from '../../reports/results.ts';
import { readResults, resultsFolder, start } from './vfio-conformance.ts';

const BUNDLE = 'dist/e2e-reproduce-worker.mjs';
/** Below the project, which the guest sees. */
const PROGRAMS = 'dist/e2e-reproducers';

const folder = resultsFolder();
let results: RunResults;
const dossier = (id: string) => join(folder, 'dossiers', id);

beforeAll(async () => {
  await build([worker('tests/e2e/suites', BUNDLE)]);
  const run = start(['run', 'e2e.reproduce', '--results', folder], join(projectFolder, BUNDLE));
  await run.finished;
  results = readResults(folder);
});

afterAll(() => rmSync(join(projectFolder, PROGRAMS), { recursive: true, force: true }));

describe('reproducers', () => {
  it('exist for twenty failures of all areas', () => {
    expect(results.tests.filter(({ status }) => status !== 'fail')).toEqual([]);
    expect(results.tests.length).toBeGreaterThanOrEqual(20);
    for (const { id } of results.tests)
      expect(readDossier(dossier(id)).reproducer, id).not.toBeNull();
  });

  it('compile and get the answers that the tests got', async () => {
    rmSync(join(projectFolder, PROGRAMS), { recursive: true, force: true });
    for (const { id } of results.tests) {
      const { reproducer } = readDossier(dossier(id));
      const place = join(projectFolder, PROGRAMS, id);
      mkdirSync(place, { recursive: true });
      await compileReproducer(reproducer!, join(place, GUEST_FILES.program));
      writeFileSync(join(place, 'script'), guestScript(readFileSync(reproducer!, 'utf8')));
    }
    const again = resultsFolder();
    const script = [
      `for place in ${PROGRAMS}/*`,
      'do (',
      'export RESULTS="$RESULTS/${place##*/}"',
      'mkdir "$RESULTS"',
      'cp "$place"/* "$RESULTS"',
      'sh "$RESULTS/script"',
      ') done',
    ].join('\n');
    const command = ['run', 'container.api-version', '--before', script, '--results', again];
    const { code, output } = await start(command).finished;
    expect(code, output).toBe(0);
    const answers = results.tests.map(({ id }) => {
      const read = (name: string) => readFileSync(join(again, 'guest', id, name), 'utf8').trim();
      return [id, read(GUEST_FILES.status), read(GUEST_FILES.output).split('\n').at(-1)];
    });
    expect(answers).toEqual(results.tests.map(({ id }) => [id, '0', 'it still happens']));
  });
});

describe('vfio-conformance reproduce', () => {
  it('boots the machine of the run and says that it still happens', async () => {
    const path = dossier('e2e.reproduce.container.map-overlap');
    const { code, output } = await start(['reproduce', path]).finished;
    expect(output).toContain('it still happens');
    expect(code, output).toBe(1);
  });

  it('says that it does not happen where nothing is to be found', async () => {
    const path = dossier('e2e.reproduce.container.map-overlap');
    const program = join(path, 'reproducer.c');
    writeFileSync(program, 'int main(void)\n{\n\treturn 1;\n}\n');
    const { code, output } = await start(['reproduce', path, '--here']).finished;
    expect(output).toContain('it does not happen');
    expect(code, output).toBe(0);
  });
});
