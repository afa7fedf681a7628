import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compileReproducer } from './compile.ts';
import { devicesOf, guestScript, MARK, sinceMark } from './guest-script.ts';
import { attemptHere, newLines } from './here.ts';
import { REPRODUCE_EXIT, verdictOf, type Attempt } from './verdict.ts';

const folder = mkdtempSync(join(tmpdir(), 'vfio-conformance-reproduce-'));

function source(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const attempt = (more: Partial<Attempt> = {}): Attempt => ({
  status: 0,
  panic: undefined,
  output: '',
  kernelLog: [],
  ...more,
});
const WARNING = [
  'WARNING: drivers/vfio/container.c:432 at vfio_f+0x4f/0x110 [vfio], CPU#0: node/12',
  'RIP: 0010:vfio_f+0x4f/0x110 [vfio]',
  '---[ end trace 0000000000000000 ]---',
];

describe('compiling a reproducer', () => {
  it('makes a program that runs here', async () => {
    const program = join(folder, 'three');
    const text = '#include <stdio.h>\nint main(void) { puts("said"); return 3; }\n';
    await compileReproducer(source('three.c', text), program);
    expect(await attemptHere(program)).toMatchObject({ status: 3, output: 'said\n' });
  });

  it('takes a warning for an error and says which', async () => {
    const path = source('bad.c', 'int main(void) { int unused; return 0; }\n');
    await expect(compileReproducer(path, join(folder, 'bad'))).rejects.toThrow(/unused variable/);
  });
});

describe('the script for the guest', () => {
  const program =
    'ioctl(fd, VFIO_GROUP_GET_DEVICE_FD, "0000:00:04.0");\n/* 0000:00:04.0 0000:01:00.1 */\nopen("/dev/vfio/12");';

  it('knows the devices that a program names', () => {
    expect(devicesOf(program)).toEqual({
      functions: ['0000:00:04.0', '0000:01:00.1'],
      groups: ['12'],
    });
    expect(devicesOf('open("/dev/vfio/vfio")')).toEqual({ functions: [], groups: [] });
  });

  it('is a script, also without any device', () => {
    for (const text of [program, '']) {
      expect(() => execFileSync('sh', ['-n', '-c', guestScript(text)])).not.toThrow();
    }
    expect(guestScript(program)).toContain('/sys/kernel/iommu_groups/12/devices/*');
  });

  it('tells the program from the boot', () => {
    expect(sinceMark(`[1] boot\n[2] ${MARK}\n[3] a\n\n`)).toEqual(['[3] a']);
    expect(newLines(['a', 'b'], ['b', 'c'])).toEqual(['c']);
    expect(newLines([], ['c'])).toEqual(['c']);
  });
});

describe('the verdict', () => {
  const assertion = { kind: 'assertion', title: 'VFIO_SET_IOMMU: expected' } as const;
  const complaint = { kind: 'kernel-log', title: 'WARNING in vfio_f' } as const;
  const leak = { kind: 'leak', title: 'the test left something behind' } as const;

  it.each([
    ['the program says yes', assertion, attempt(), 'happens', 1],
    ['the program says no', assertion, attempt({ status: 1 }), 'gone', 0],
    ['the program cannot say', assertion, attempt({ status: 2 }), 'unknown', 3],
    ['the program never ends', assertion, attempt({ status: null }), 'died', 5],
    ['the kernel panics', assertion, attempt({ panic: 'Kernel panic' }), 'died', 5],
    ['the kernel complains again', complaint, attempt({ kernelLog: WARNING }), 'happens', 1],
    ['the kernel is silent', complaint, attempt(), 'gone', 0],
    ['a leak cannot be seen', leak, attempt(), 'unknown', 3],
  ] as const)('%s', (_, facts, tried, kind, code) => {
    expect(verdictOf(facts, tried).kind).toBe(kind);
    expect(REPRODUCE_EXIT[kind]).toBe(code);
  });

  it('says what the kernel complains of instead', () => {
    const { text } = verdictOf(
      { ...complaint, title: 'WARNING in vfio_g' },
      attempt({ kernelLog: WARNING }),
    );
    expect(text).toContain('it says: WARNING in vfio_f');
  });
});
