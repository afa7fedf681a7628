/** Tests that end in every way a test can end: the material of the project's own end-to-end tests. */
import { openSync, writeFileSync } from 'node:fs';
import {
  O_WRONLY,
  Program,
  VFIO_TYPE1v2_IOMMU,
  expect,
  hugePages,
  sys,
  test,
} from '../../../harness/testing/index.ts';

const SOURCE = 'tests/e2e/suites/verdicts.test.ts';

for (const when of ['before', 'after-crash', 'after-hang']) {
  test(`e2e.${when}`, `a test ${when} passes`, { source: SOURCE }, ({ container }) => {
    expect(container.apiVersion()).toBe(0);
  });
}

test(
  'e2e.wrong-errno',
  'a container takes an IOMMU twice, which is false',
  { source: SOURCE, fixes: ['0123456789ab (a fix that does not exist)'] },
  ({ container }) => {
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EBUSY');
  },
);

test(
  'e2e.skip',
  'a skip names all that is missing',
  {
    source: SOURCE,
    needs: [hugePages(2048, 1_000_000), hugePages(1_048_576, 1000)],
  },
  () => {},
);

test('e2e.leak', 'a file descriptor left open is noticed', { source: SOURCE }, () => {
  openSync('/dev/null', 'r');
});

test('e2e.kernel-log', 'a complaint of the kernel is noticed', { source: SOURCE }, () => {
  writeFileSync('/dev/kmsg', '<4>WARNING: provoked by a test at nowhere.c:1\n');
});

test('e2e.broken-body', 'an exception is an error of ours', { source: SOURCE }, () => {
  throw new RangeError('the body is broken');
});

test(
  'e2e.panic',
  'a panic costs this test and no other, whichever process causes it',
  { source: SOURCE },
  ({ container, actor }) => {
    expect(container.apiVersion()).toBe(0);
    const trigger = sys.open('/proc/sysrq-trigger', O_WRONLY);
    const program = new Program();
    program.syscall('getpid');
    program.syscall('write', trigger, program.data('c'), 1);
    actor({ inheritFds: [trigger] }).run(program);
  },
);

test(
  'e2e.hang',
  'an endless loop costs this test and no other',
  {
    source: SOURCE,
    timeoutMs: 3000,
  },
  () => {
    for (;;);
  },
);
