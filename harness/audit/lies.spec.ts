import { afterEach, expect, test } from 'vitest';
import { VFIO_IOMMU_DIRTY_PAGES } from '../abi/vfio.ts';
import { Program, recorder, sys, type RecordedRun } from '../shim/index.ts';
import { liesAbout } from './lies.ts';

/** Nothing listens there: the kernel answers EBADF. */
const NO_FD = -1;

function record(body: () => void): RecordedRun[] {
  recorder.begin();
  body();
  return recorder.take();
}

afterEach(() => {
  recorder.take();
});

const texts = (runs: RecordedRun[]): string[] => liesAbout(runs).map(({ text }) => text);

test('an errno can be another one, or success', () => {
  const runs = record(() => sys.pread(NO_FD, Buffer.alloc(4), 0x70000000004n));
  expect(texts(runs)).toEqual([
    'pread at 0x70000000004: EBADF told as EINVAL',
    'pread at 0x70000000004: EBADF told as success',
  ]);
});

test('what the program itself put into an argument is no answer', () => {
  const runs = record(() => {
    const program = new Program();
    const argument = program.data(16);
    program.store(64, argument.at(8), argument);
    program.syscall('ioctl', NO_FD, VFIO_IOMMU_DIRTY_PAGES.request, argument);
    program.run();
  });
  expect(texts(runs).filter((text) => text.includes('word'))).toEqual([]);
});

test('a lie fits a call of the same kind with the same result only', () => {
  const [lie] = liesAbout(record(() => sys.ioctl(NO_FD, VFIO_IOMMU_DIRTY_PAGES.request)));
  const program = new Program();
  program.syscall('ioctl', NO_FD, VFIO_IOMMU_DIRTY_PAGES.request);
  program.syscall('ioctl', NO_FD, VFIO_IOMMU_DIRTY_PAGES.request + 1);
  program.syscall('getpid');
  program.run();
  expect([0, 1, 2].map((index) => lie?.fits(program.op(index)))).toEqual([true, false, false]);
  program.forgeResult(0, 0);
  expect(lie?.fits(program.op(0))).toBe(false);
});
