import { chownSync } from 'node:fs';
import { AT_FDCWD, O_RDWR, Program, type TestContext } from '../../../harness/testing/index.ts';

const NOBODY = 65534;

/** Gives a node away and lets its new owner open it, without any capability: an fd or -errno. */
export function openAsOwner(context: TestContext, node: string): number {
  chownSync(node, NOBODY, NOBODY);
  const user = context.actor({ uid: NOBODY, gid: NOBODY, dropCaps: true });
  const program = new Program();
  const opened = program.syscall('openat', AT_FDCWD, program.data(node), O_RDWR);
  user.run(program);
  return program.result(opened);
}
