import { execFileSync } from 'node:child_process';
import { afterEach, expect, test, vi } from 'vitest';
import { actorPath, libraryPath } from './library.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

test('the library and the actor are found in native/build, or where the environment says', () => {
  expect(libraryPath()).toMatch(/\/native\/build\/libvfio-conformance\.so$/);
  expect(actorPath()).toMatch(/\/native\/build\/vc-actor$/);
  vi.stubEnv('VFIO_CONFORMANCE_SHIM', '/somewhere/lib.so');
  expect(libraryPath()).toBe('/somewhere/lib.so');
  expect(actorPath()).toBe('/somewhere/vc-actor');
});

test('the library lists what it exports and nothing else of its own', () => {
  const symbols = execFileSync('nm', ['-D', '--defined-only', libraryPath()], { encoding: 'utf8' });
  for (const line of symbols.trim().split('\n')) expect(line).toMatch(/ T vc_[a-z_]+$/);
});
