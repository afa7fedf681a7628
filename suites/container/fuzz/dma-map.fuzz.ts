import { fuzz } from '../../../harness/testing/index.ts';
import { DMA_FUZZER, DMA_FUZZER_V1 } from './dma-fuzzer.ts';

fuzz(
  'container.fuzz.dma-map',
  'whatever is mapped and unmapped in a TYPE1v2 container, the answers, the accounts and what the device sees fit',
  DMA_FUZZER,
);

fuzz(
  'container.fuzz.dma-map-v1',
  'whatever is mapped and unmapped in a TYPE1 container, the answers and the accounts fit',
  DMA_FUZZER_V1,
);
