import { fuzz } from '../../../harness/testing/index.ts';
import { RACING_FUZZER, RAW_FUZZER } from './raw-fuzzer.ts';

fuzz(
  'device.fuzz.raw',
  'whatever ioctl is made on containers, groups and devices, it ends with an errno and does no harm',
  RAW_FUZZER,
);

fuzz(
  'device.fuzz.raw-racing',
  'whatever ioctl is made while its structure changes, it ends with an errno and does no harm',
  RACING_FUZZER,
);
