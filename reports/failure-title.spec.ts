import { describe, expect, it } from 'vitest';
import type { Failure } from '../harness/protocol/test.ts';
import { failureTitle, splatsOfTest } from './failure-title.ts';
import { reduceJournal } from './reduce.ts';
import type { TestResult } from './results.ts';
import { sampleRun } from './samples.ts';

const [sample] = reduceJournal(sampleRun()).tests;

function failed(failure: Partial<Failure>, more: Partial<TestResult> = {}): TestResult {
  return {
    ...(sample as TestResult),
    id: 'device.reset.config@igb',
    status: 'fail',
    failure: { kind: 'assertion', message: '', calls: [], hints: [], ...failure },
    kernelLog: [],
    ...more,
  };
}

const WARNING = [
  '------------[ cut here ]------------',
  'WARNING: drivers/vfio/container.c:432 at vfio_f+0x4f/0x110 [vfio], CPU#0: node/12',
  'RIP: 0010:vfio_f+0x4f/0x110 [vfio]',
  '---[ end trace 0000000000000000 ]---',
];
const FAULT =
  'DMAR: [DMA Write NO_PASID] Request device [0000:00:02.0] fault addr 0x1000 [fault reason 0x05] PTE Write access is not set';

describe('the title of a failure', () => {
  it('is that of its splat', () => {
    const test = failed({ kind: 'kernel-log', observed: WARNING[1] }, { kernelLog: WARNING });
    expect(failureTitle(test)).toBe('WARNING in vfio_f');
  });

  it('is not what the test provoked', () => {
    const log = [FAULT, ...WARNING];
    const test = failed({ kind: 'kernel-log', observed: WARNING[1] }, { kernelLog: log });
    expect(splatsOfTest(test).map(({ kind }) => kind)).toEqual(['warning']);
    const assertion = failed({ message: 'expected 1' }, { kernelLog: [FAULT] });
    expect(splatsOfTest(assertion)).toEqual([]);
  });

  it('names the call that answered wrongly, else the test without its device', () => {
    const calls = [
      'ioctl(3</dev/vfio/vfio>, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) = -1 EINVAL (Invalid argument)',
      'close(3) = 0',
    ];
    const message = 'expected EBUSY, observed EINVAL';
    expect(failureTitle(failed({ message, calls, observed: 'EINVAL' }))).toBe(
      `VFIO_SET_IOMMU: ${message}`,
    );
    const named = 'VFIO_SET_IOMMU: expected EBUSY, observed EINVAL';
    expect(failureTitle(failed({ message: named, calls, observed: 'EINVAL' }))).toBe(named);
    const values = 'expected [ 1, 2, …(5) ] to be 3n // Object.is equality';
    expect(failureTitle(failed({ message: values }))).toBe(
      'device.reset.config: expected […] to be N',
    );
    expect(failureTitle(failed({ message: 'expected 0x10 to be 0x20\nmore' }))).toBe(
      'device.reset.config: expected N to be N',
    );
  });

  it('of a hang is where the task is blocked', () => {
    const stack = [
      '== blocked tasks (sysrq w)',
      '[   33.1] task:node            state:D stack:0     pid:99',
      '[   33.1] Call Trace:',
      '[   33.1]  <TASK>',
      '[   33.1]  __schedule+0x3f7/0xbd0',
      '[   33.1]  rwsem_down_write_slowpath+0x2b/0x5f0',
      '[   33.1]  vfio_pci_core_ioctl_reset+0x4c/0x80 [vfio_pci_core]',
    ].join('\n');
    const status = { status: 'timeout' as const };
    expect(failureTitle(failed({ kind: 'death', stack }, status))).toBe(
      'hang in vfio_pci_core_ioctl_reset',
    );
    expect(failureTitle(failed({ kind: 'death' }, status))).toBe('hang: device.reset.config');
  });

  it('does not exist without a failure', () => {
    expect(failureTitle({ ...failed({}), failure: null })).toBeNull();
  });
});
