/** How much of the speed of the kernel's own the raw fuzzer has. */
import { benchFuzzer } from '../../harness/testing/index.ts';
import { RAW_FUZZER } from './fuzz/raw-fuzzer.ts';

/** Four fifths of the speed of the calls alone. */
const TOLERANCE = 0.25;

benchFuzzer(
  'device.fuzz.raw',
  'an operation of the raw fuzzer: made up, issued and checked',
  RAW_FUZZER,
  TOLERANCE,
);
