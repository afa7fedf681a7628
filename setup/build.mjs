import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exitWith, SetupError } from './failure.mjs';
import { projectFolder } from './paths.mjs';

/** ffi-rs holds native code: the bundle leaves it where npm put it. */
const EXTERNAL = ['ffi-rs'];
/** CommonJS packages inside an ESM bundle call require. */
const REQUIRE_BANNER =
  "import { createRequire as __createRequire } from 'node:module';\n" +
  'const require = __createRequire(import.meta.url);';

/** Fuzzers are tests as well. */
const TESTS = /\.(test|fuzz)\.ts$/;
const BENCHES = /\.bench\.ts$/;
/** `suites/AREA/fuzz/corpus/ID/NAME.txt` */
const CORPUS = /\/corpus\/.*\.txt$/;

/**
 * Every suite file, as the module `virtual:suites`: what is added below `suites/` is run without
 * being named anywhere.
 * @returns {import('esbuild').Plugin}
 */
function suitesPlugin(folder = 'suites') {
  return {
    name: 'suites',
    setup(build) {
      build.onResolve({ filter: /^virtual:suites$/ }, () => ({
        path: 'virtual:suites',
        namespace: 'suites',
      }));
      build.onLoad({ filter: /.*/, namespace: 'suites' }, () => ({
        contents: suitesModule(
          listSuites(folder),
          listSuites(folder, BENCHES),
          listSuites(folder, CORPUS),
        ),
        resolveDir: projectFolder,
        loader: 'js',
      }));
    },
  };
}

/**
 * @param {string} folder relative to the project
 * @param {RegExp} name
 * @returns {string[]} the files of such a name in it, relative to the project
 */
export function listSuites(folder = 'suites', name = TESTS) {
  const path = join(projectFolder, folder);
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive: true })
    .map((file) => `${folder}/${file}`)
    .filter((path) => name.test(path))
    .sort();
}

/**
 * @param {string[]} tests files with tests
 * @param {string[]} benches files with benchmarks
 * @param {string[]} corpus fuzz programs that are kept
 * @returns {string} source of the module `virtual:suites`
 */
export function suitesModule(tests, benches, corpus) {
  const kept = corpus.map((file) => ({
    file,
    text: readFileSync(join(projectFolder, file), 'utf8'),
  }));
  return (
    `export const suiteFiles = [\n${tests.map(loader).join('')}];\n` +
    `export const benchFiles = [\n${benches.map(loader).join('')}];\n` +
    `export const corpus = ${JSON.stringify(kept)};\n`
  );
}

/** @param {string} file */
function loader(file) {
  const name = JSON.stringify(file);
  return `  { file: ${name}, load: () => import(${JSON.stringify(`./${file}`)}) },\n`;
}

const CLI = { entry: 'harness/cli/main.ts', outfile: 'dist/cli.mjs' };

/** The script and the style of the HTML report, which become part of each report. */
export const REPORT_PAGE = {
  entry: 'reports/html/page/main.tsx',
  outfile: 'dist/report-page.js',
  format: /** @type {const} */ ('iife'),
  platform: /** @type {const} */ ('browser'),
  target: 'es2022',
  minify: true,
  sourcemap: false,
  banner: {},
};

/**
 * The bundle of the worker with the suites of a folder.
 * @param {string} suites relative to the project
 * @param {string} outfile
 */
export function worker(suites, outfile) {
  return { entry: 'harness/worker/main.ts', outfile, plugins: [suitesPlugin(suites)] };
}

/**
 * A guest of another run may be reading the bundle: it keeps the old one, whole, and an unchanged one
 * is left alone.
 * @param {string} path
 * @param {Uint8Array} contents
 */
function replaceFile(path, contents) {
  if (existsSync(path) && readFileSync(path).equals(contents)) return;
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, contents);
  renameSync(draft, path);
}

/**
 * Bundles both sides into `dist/`: the guest starts one file instead of hundreds, and no file of
 * the executing side can end up in the supervisor unnoticed.
 */
export async function build(bundles = [CLI, REPORT_PAGE, worker('suites', 'dist/worker.mjs')]) {
  // Not at the top: this module is loaded before the npm packages are there.
  const esbuild = await import('esbuild');
  mkdirSync(join(projectFolder, 'dist'), { recursive: true });
  /** @type {import('esbuild').BuildOptions} */
  const common = {
    absWorkingDir: projectFolder,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    external: EXTERNAL,
    banner: { js: REQUIRE_BANNER },
    logLevel: 'silent',
    write: false,
  };
  const built = Promise.all(
    bundles.map(async ({ entry, ...options }) => {
      try {
        const result = await esbuild.build({ ...common, ...options, entryPoints: [entry] });
        for (const { path, contents } of result.outputFiles ?? []) replaceFile(path, contents);
      } catch (error) {
        const { errors } = /** @type {import('esbuild').BuildFailure} */ (error);
        if (!errors) throw error;
        const text = await esbuild.formatMessages(errors, { kind: 'error', color: false });
        throw new SetupError(`${entry} cannot be bundled:\n${text.join('')}`, 'mend the source');
      }
    }),
  );
  // Its service process would stay for as long as the run that follows.
  await built.finally(() => esbuild.stop());
}

// `node setup/build.mjs`: the bundles alone, while working on the suites.
if (process.argv[1] === fileURLToPath(import.meta.url)) await exitWith(build);
