/**
 * The shared library behind the shim. It is loaded at the first call and not before, so that
 * listing tests needs neither the library nor an architecture that has one.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as FfiModule from 'ffi-rs';
import { KernelError } from './kernel-error.ts';

const LIBRARY = 'vfio-conformance';

type Ffi = typeof FfiModule;

let ffi: Ffi | null = null;

/**
 * A file that `make -C native` built, or that came with the package: from the first directory
 * upwards that has one. This file may lie in harness/shim/ (sources) or be part of a bundle in dist/.
 */
function builtFile(name: string): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let directory = start; ; directory = dirname(directory)) {
    const found = ['build', join('prebuilt', process.arch)]
      .map((folder) => join(directory, 'native', folder, name))
      .find((candidate) => existsSync(candidate));
    if (found !== undefined) return found;
    if (directory === dirname(directory)) break;
  }
  throw new Error(`${name} not found in native/ above ${start}: run "make -C native"`);
}

/** The path of the shared library; the environment variable VFIO_CONFORMANCE_SHIM overrides it. */
export function libraryPath(): string {
  return process.env.VFIO_CONFORMANCE_SHIM ?? builtFile('libvfio-conformance.so');
}

/** The path of the executor for other processes: beside the library. */
export function actorPath(): string {
  return programPath('vc-actor');
}

/** The path of the C program that benchmarks are compared with. */
export function referencePath(): string {
  return programPath('vc-reference');
}

function programPath(name: string): string {
  const library = process.env.VFIO_CONFORMANCE_SHIM;
  return library === undefined ? builtFile(name) : join(dirname(library), name);
}

function loaded(): Ffi {
  if (ffi === null) {
    const module = createRequire(import.meta.url)('ffi-rs') as Ffi;
    module.open({ library: LIBRARY, path: libraryPath() });
    ffi = module;
  }
  return ffi;
}

/**
 * Calls `int name(void *buffer, uint32_t number)`. The buffer is passed in place: what C writes is
 * seen here. All 64-bit data travel inside the buffer, as ffi-rs cannot pass them faithfully.
 */
export function callWithBuffer(name: string, buffer: Uint8Array, number: number): number {
  const { load, DataType } = loaded();
  // The parameter types are made anew each time: ffi-rs writes the buffer's length into them.
  return load({
    library: LIBRARY,
    funcName: name,
    retType: DataType.I32,
    paramsType: [DataType.U8Array, DataType.U32],
    paramsValue: [buffer, number],
  }) as number;
}

/** Calls `int name(void *first, void *second)`. */
export function callWithBuffers(name: string, first: Uint8Array, second: Uint8Array): number {
  const { load, DataType } = loaded();
  return load({
    library: LIBRARY,
    funcName: name,
    retType: DataType.I32,
    paramsType: [DataType.U8Array, DataType.U8Array],
    paramsValue: [first, second],
  }) as number;
}

/** The names of all opcodes as the library knows them. */
export function nativeOpcodeNames(): string[] {
  const { load, DataType } = loaded();
  const count = load({
    library: LIBRARY,
    funcName: 'vc_opcode_count',
    retType: DataType.U32,
    paramsType: [],
    paramsValue: [],
  }) as number;
  return Array.from(
    { length: count },
    (_, opcode) =>
      load({
        library: LIBRARY,
        funcName: 'vc_opcode_name',
        retType: DataType.String,
        paramsType: [DataType.U32],
        paramsValue: [opcode],
      }) as string,
  );
}

/** Throws KernelError for -errno, passes everything else. */
export function check(result: number, what: string): number {
  if (result < 0) throw new KernelError(-result, what);
  return result;
}
