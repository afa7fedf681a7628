/** How much of the speed of the kernel's own the DMA fuzzers have. */
import { benchFuzzer } from '../../harness/testing/index.ts';
import { DMA_FUZZER, DMA_FUZZER_V1 } from './fuzz/dma-fuzzer.ts';

/** Half of the speed of the calls alone. */
const TOLERANCE = 1;

benchFuzzer(
  'container.fuzz.dma-map',
  'an operation of the DMA fuzzer: made up, predicted, issued and checked',
  DMA_FUZZER,
  TOLERANCE,
);

benchFuzzer(
  'container.fuzz.dma-map-v1',
  'an operation of the DMA fuzzer in a TYPE1 container',
  DMA_FUZZER_V1,
  TOLERANCE,
);
