import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { AT_FDCWD, O_RDWR } from '../abi/libc.ts';
import { Program, type Ref } from '../shim/index.ts';
import { DEBUGFS, debugfsHas } from './debugfs.ts';

const FAILSLAB = `${DEBUGFS}/failslab`;
/** What the failing allocations are counted by, per thread (Documentation/fault-injection/fault-injection.rst). */
const FAIL_NTH = '/proc/thread-self/fail-nth';

/** Whether allocations can be made to fail: CONFIG_FAILSLAB and its settings in debugfs. Root. */
export function canFailAllocations(): boolean {
  return existsSync(FAIL_NTH) && debugfsHas('failslab');
}

/**
 * Lets allocations that may sleep fail too, and quietly.
 * @returns what puts the settings back.
 */
export function armAllocationFailures(): () => void {
  const settings = { 'ignore-gfp-wait': 'N', verbose: '0' };
  const before = Object.keys(settings).map(
    (name) => [name, readFileSync(`${FAILSLAB}/${name}`, 'utf8')] as const,
  );
  for (const [name, value] of Object.entries(settings)) writeFileSync(`${FAILSLAB}/${name}`, value);
  return () => {
    for (const [name, value] of before) writeFileSync(`${FAILSLAB}/${name}`, value);
  };
}

/**
 * Makes one call whose `nth` allocation fails, counted from 1.
 * @returns the result of the call, and whether it made that many.
 */
export function failNthAllocation(
  nth: number,
  call: (program: Program) => Ref,
): { result: number; hasFailed: boolean } {
  const program = new Program();
  const file = program.syscall('openat', AT_FDCWD, program.data(FAIL_NTH), O_RDWR);
  const count = program.data(String(nth));
  const none = program.data('0');
  const left = program.data(16);
  program.syscall('pwrite', file, count, String(nth).length, 0);
  const made = call(program);
  program.syscall('pread', file, left, 16, 0);
  program.syscall('pwrite', file, none, 1, 0);
  program.syscall('close', file);
  program.run();
  return {
    result: program.result(made),
    hasFailed: Number.parseInt(left.bytes.toString('latin1'), 10) === 0,
  };
}
