import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { memoryBound } from './memory-cap.ts';

const GIB = 2 ** 30;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'memory-cap-'));
  vi.spyOn(process, 'getuid').mockReturnValue(0);
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

/** A machine whose cgroups above that of this process have these controllers. */
function machine(own: string, above: string, controllers: string): string {
  const proc = join(folder, 'proc');
  const mount = join(folder, 'cgroup');
  mkdirSync(join(proc, 'self'), { recursive: true });
  mkdirSync(join(mount, above), { recursive: true });
  writeFileSync(join(mount, above, 'cgroup.subtree_control'), `${controllers}\n`);
  writeFileSync(join(proc, 'self/cgroup'), `1:name=systemd:/x\n0::${own}\n`);
  writeFileSync(
    join(proc, 'self/mountinfo'),
    `30 25 0:26 / ${mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n`,
  );
  return proc;
}

describe('a bound on memory', () => {
  it('is held by a cgroup beside that of the supervisor, which keeps a part', () => {
    const proc = machine('/user.slice/session-1.scope', 'user.slice', 'cpu memory pids');
    const { cgroup, perTest } = memoryBound(2 * GIB, proc);
    expect(cgroup?.folder).toBe(join(folder, `cgroup/user.slice/vfio-conformance-${process.pid}`));
    expect(cgroup?.bytes).toBeLessThan(2 * GIB);
    expect(perTest).toBeLessThan(cgroup!.bytes);
  });

  it('says why nothing holds it', () => {
    expect(memoryBound(GIB, machine('/', '', 'cpu')).missing).toMatch(/count no memory/);
    expect(memoryBound(GIB, join(folder, 'nothing')).missing).toMatch(/not mounted/);
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    expect(memoryBound(GIB, machine('/', '', 'memory')).missing).toMatch(/only root/);
  });

  it('leaves room for the program itself', () => {
    expect(() => memoryBound(GIB / 4)).toThrow(/too little/);
  });
});
