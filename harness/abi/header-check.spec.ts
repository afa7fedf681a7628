/**
 * Compares the data of this folder with the compiler's view of the kernel's own headers: values,
 * sizes, offsets, signedness; and for <linux/vfio.h> that nothing of the header is missing here.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { _IO, _IOR, _IOW, _IOWR } from './ioc.ts';
import { Ioctl } from './ioctl.ts';
import * as iommufd from './iommufd.ts';
import * as kvm from './kvm.ts';
import * as libc from './libc.ts';
import * as pciRegs from './pci-regs.ts';
import { Struct } from './struct.ts';
import * as vfio from './vfio.ts';
import * as zdev from './vfio_zdev.ts';

/** Names of <linux/vfio.h> that are not data. */
const LEFT_OUT = new Map([
  ['VFIO_H', 'include guard'],
  ['_UAPIVFIO_H', 'include guard'],
  ['VFIO_DEVICE_STATE_VALID', 'function of a state of the migration protocol before 5.18'],
  ['VFIO_DEVICE_STATE_IS_ERROR', 'function of a state of the migration protocol before 5.18'],
  ['VFIO_DEVICE_STATE_SET_ERROR', 'function of a state of the migration protocol before 5.18'],
]);

const headers =
  process.env.VFIO_CONFORMANCE_HEADERS ??
  join(
    process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'),
    'vfio-conformance/headers/usr/include',
  );

let folder = '';

beforeAll(() => {
  if (!existsSync(join(headers, 'linux/vfio.h')))
    throw new Error(
      `no kernel headers at ${headers}: run the set-up (setup/), or set VFIO_CONFORMANCE_HEADERS ` +
        'to a folder that holds linux/vfio.h of kernel 7.3 or newer (linux-libc-dev, or make headers_install)',
    );
  folder = mkdtempSync(join(tmpdir(), 'header-check-'));
});

afterAll(() => {
  if (folder) rmSync(folder, { recursive: true });
});

function gcc(...args: string[]): string {
  return execFileSync('gcc', args, { encoding: 'utf8', maxBuffer: 64 << 20 });
}

function includePath(multiarch = gcc('-print-multiarch').trim()): string[] {
  return ['-isystem', join(headers, multiarch), '-isystem', headers];
}

/** Compiles and runs a program whose main() has this body; its output as a map from first word to the rest. */
function run(includes: string[], body: string[], options = includePath()): Map<string, string> {
  const source = join(folder, 'check.c');
  writeFileSync(
    source,
    [
      '#define _GNU_SOURCE',
      '#include <stdio.h>',
      '#include <stddef.h>',
      ...includes.map((name) => `#include <${name}>`),
      'int main(void)',
      '{',
      ...body,
      'return 0;',
      '}',
    ].join('\n'),
  );
  const program = join(folder, 'check');
  gcc('-std=gnu11', '-w', ...options, '-o', program, source);
  const output = execFileSync(program, { encoding: 'utf8' });
  return new Map(
    output
      .trimEnd()
      .split('\n')
      .map((line) => {
        const space = line.indexOf(' ');
        return [line.slice(0, space), line.slice(space + 1)];
      }),
  );
}

/** A line of C for each fact that the data claim, beside what they claim. */
function claims(module: Record<string, unknown>): {
  body: string[];
  expected: Map<string, string>;
} {
  const body: string[] = [];
  const expected = new Map<string, string>();
  const unsigned = (key: string, expression: string, value: number | bigint) => {
    body.push(`printf("${key} %llu\\n", (unsigned long long)(${expression}));`);
    expected.set(key, String(value));
  };
  for (const [name, item] of Object.entries(module)) {
    // Numbers are compared as the 32 bits that they are in a field of the ABI.
    if (typeof item === 'number') unsigned(name, `(unsigned int)(${name})`, item >>> 0);
    else if (typeof item === 'bigint') unsigned(name, name, item);
    else if (typeof item === 'string' && item.length === 1)
      unsigned(name, name, item.charCodeAt(0));
    else if (typeof item === 'string') {
      body.push(`printf("%s %s\\n", "${name}", ${name});`);
      expected.set(name, item);
    } else if (item instanceof Ioctl) {
      expect(item.name, 'an ioctl is exported under its own name').toBe(name);
      unsigned(name, `(unsigned int)(${name})`, item.request);
    } else if (item instanceof Struct) {
      expect(item.name, 'a struct is exported under its own name').toBe(name);
      unsigned(name, `sizeof(struct ${name})`, item.size);
      for (const [field, { offset, field: type }] of item.fields) {
        const member = `((struct ${name} *)0)->${field}`;
        unsigned(`${name}.${field}:offset`, `offsetof(struct ${name}, ${field})`, offset);
        unsigned(`${name}.${field}:size`, `sizeof(${member})`, type.size);
        if (type instanceof Struct || type.element || type.meaning === 'address') continue;
        const view = new DataView(new Uint8Array(8).fill(0xff).buffer);
        const negative = Number(type.read(view, 0)) < 0;
        unsigned(
          `${name}.${field}:signed`,
          `(__typeof__(${member}))-1 < 0 ? 1 : 0`,
          Number(negative),
        );
      }
      if (item.tail) {
        const { name: field, element } = item.tail;
        unsigned(
          `${name}.${field}:offset`,
          `offsetof(struct ${name}, ${field})`,
          item.offsetof(field),
        );
        unsigned(
          `${name}.${field}:element`,
          `sizeof(((struct ${name} *)0)->${field}[0])`,
          element.size,
        );
      }
    }
  }
  return { body, expected };
}

function compare(module: Record<string, unknown>, includes: string[], options?: string[]): number {
  const { body, expected } = claims(module);
  const actual = run(includes, body, options);
  expect(Object.fromEntries(expected)).toEqual(Object.fromEntries(actual));
  return expected.size;
}

describe('the data agree with the headers', () => {
  test('linux/vfio.h', () => {
    expect(compare(vfio, ['linux/vfio.h'])).toBeGreaterThan(500);
  });
  test('linux/vfio_zdev.h', () => {
    expect(compare(zdev, ['linux/vfio_zdev.h'])).toBeGreaterThan(30);
  });
  test('linux/pci_regs.h', () => {
    expect(compare(pciRegs, ['linux/pci_regs.h'])).toBeGreaterThan(800);
  });
  test('linux/iommufd.h', () => {
    expect(compare(iommufd, ['linux/iommufd.h'])).toBeGreaterThan(100);
  });
  test('linux/kvm.h', () => {
    expect(compare(kvm, ['linux/kvm.h'])).toBeGreaterThan(60);
  });
  test('libc', () => {
    const includes = [
      'fcntl.h',
      'poll.h',
      'signal.h',
      'time.h',
      'unistd.h',
      'sys/epoll.h',
      'sys/eventfd.h',
      'sys/mman.h',
      'sys/prctl.h',
      'sys/resource.h',
      'sys/socket.h',
      'sys/timerfd.h',
      'sys/wait.h',
      'linux/falloc.h',
      'linux/memfd.h',
      'linux/mman.h',
    ];
    // libc's headers want the system's kernel headers beside them.
    expect(compare(libc, includes, [])).toBeGreaterThan(100);
  });
});

describe('nothing of linux/vfio.h is missing', () => {
  function exported(name: string): boolean {
    return name in vfio || LEFT_OUT.has(name);
  }

  /** The header alone, without comments and what it includes. */
  function preprocessed(): string {
    const source = join(folder, 'vfio.c');
    writeFileSync(source, '#include <linux/vfio.h>\n');
    return gcc('-E', '-P', ...includePath(), source);
  }

  test('macros', () => {
    const source = join(folder, 'macros.c');
    writeFileSync(source, '#include <linux/vfio.h>\n');
    const names = [
      ...gcc('-E', '-dM', ...includePath(), source).matchAll(/^#define (\w*VFIO\w*)/gm),
    ].map((match) => match[1] ?? '');
    expect(names.length).toBeGreaterThan(150);
    expect(names.filter((name) => !exported(name))).toEqual([]);
  });

  test('enumerators', () => {
    const names = [...preprocessed().matchAll(/enum\s*\w*\s*\{([^}]*)\}/g)].flatMap((match) => [
      ...(match[1] ?? '').matchAll(/\bVFIO_\w+/g),
    ]);
    expect(names.length).toBeGreaterThan(25);
    expect(names.map((match) => match[0]).filter((name) => !exported(name))).toEqual([]);
  });

  test('structs and their members', () => {
    const text = preprocessed();
    const found = [...text.matchAll(/\bstruct\s+(vfio_\w+)\s*\{/g)];
    expect(found.length).toBeGreaterThan(35);
    const missing: string[] = [];
    for (const match of found) {
      const name = match[1] ?? '';
      const item = (vfio as Record<string, unknown>)[name];
      if (!(item instanceof Struct)) {
        missing.push(`struct ${name}`);
        continue;
      }
      for (const member of members(text.slice(match.index + match[0].length)))
        if (!item.fields.has(member) && item.tail?.name !== member)
          missing.push(`${name}.${member}`);
    }
    expect(missing).toEqual([]);
  });

  /** Names of the members up to the brace that closes the struct. */
  function members(body: string): string[] {
    let depth = 1;
    let end = 0;
    for (; depth > 0; end++) depth += { '{': 1, '}': -1 }[body.charAt(end)] ?? 0;
    return [
      ...body.slice(0, end - 1).matchAll(/(\w+)\s*(?:\[[^\]]*\])?\s*(?:__counted_by\(\w+\)\s*)?;/g),
    ].map((match) => match[1] ?? '');
  }
});

describe('ioctl numbers on other architectures', () => {
  test.each([
    ['x64', 'x86_64-linux-gnu'],
    ['arm64', 'aarch64-linux-gnu'],
    ['ppc64', 'powerpc64le-linux-gnu'],
    ['s390x', 's390x-linux-gnu'],
    ['mipsel', 'mips64el-linux-gnuabi64'],
    ['riscv64', 'riscv64-linux-gnu'],
    ['loong64', 'loongarch64-linux-gnu'],
  ])('%s', (arch, multiarch) => {
    const names = ['_IO', '_IOR', '_IOW', '_IOWR'];
    const actual = run(
      ['linux/ioctl.h'],
      names.map((name) => {
        const type = name === '_IO' ? '' : ', unsigned long';
        return `printf("${name} %u\\n", (unsigned int)${name}(';', 100${type}));`;
      }),
      includePath(multiarch),
    );
    expect(Object.fromEntries(actual)).toEqual({
      _IO: String(_IO(';', 100, arch)),
      _IOR: String(_IOR(';', 100, 8, arch)),
      _IOW: String(_IOW(';', 100, 8, arch)),
      _IOWR: String(_IOWR(';', 100, 8, arch)),
    });
  });
});
