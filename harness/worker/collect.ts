import { collectTests, type VitestRunner } from '@vitest/runner';
import { benchFiles, corpus, suiteFiles } from 'virtual:suites';
import { setCorpus } from '../testing/corpus.ts';
import {
  beginFile,
  registeredBenches,
  registeredCases,
  type BenchCase,
  type Case,
} from '../testing/registry.ts';

/**
 * Loads every suite file the way vitest does, so that suites stay ordinary vitest files; the tests
 * they declare end up in the registry. Neither root, device nor kernel is needed.
 * @throws Error naming the file that does not load.
 */
export async function collectCases(): Promise<ReadonlyMap<string, Case>> {
  setCorpus(corpus);
  const loaders = new Map(suiteFiles.map(({ file, load }) => [file, load]));
  const runner: VitestRunner = {
    config: {
      root: '/',
      setupFiles: [],
      name: undefined,
      passWithNoTests: true,
      testNamePattern: undefined,
      allowOnly: false,
      sequence: { seed: 0, hooks: 'stack', setupFiles: 'list' },
      chaiConfig: undefined,
      maxConcurrency: 1,
      testTimeout: 0,
      hookTimeout: 0,
      retry: 0,
      includeTaskLocation: false,
      tags: [],
      tagsFilter: undefined,
      strictTags: false,
    },
    importFile: async (filepath) => {
      beginFile(filepath);
      await loaders.get(filepath)!();
    },
  };
  for (const file of await collectTests([...loaders.keys()], runner)) {
    const [error] = file.result?.errors ?? [];
    if (error) throw new Error(`${file.filepath}: ${error.message}\n${error.stack ?? ''}`);
  }
  return registeredCases();
}

/** Loads every file with benchmarks. */
export async function collectBenches(): Promise<ReadonlyMap<string, BenchCase>> {
  for (const { file, load } of benchFiles) {
    beginFile(file);
    await load();
  }
  return registeredBenches();
}
