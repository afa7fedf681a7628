import type { FuzzOptions, Kind, TestContext } from '../../../harness/testing/index.ts';
import {
  CHOICES,
  ENCODINGS,
  FLAGS,
  LISTED,
  LONGEST_RUN,
  NUMBERS,
  SIZES,
  callsOfRun,
} from './raw-calls.ts';
import { CHANGES, FDS, PLACES, RawStage, type RawRun } from './raw-stage.ts';

const KINDS: Readonly<Record<string, Kind<RawRun>>> = {
  ioctl: {
    weight: 1,
    fields: {
      fd: FDS,
      number: NUMBERS,
      encoding: ENCODINGS.length,
      pointer: PLACES,
      argsz: SIZES.length,
      flags: FLAGS.length,
      first: CHOICES,
      step: CHOICES,
    },
    issue: (
      { batch, stage },
      fd = 0,
      number = 0,
      encoding = 0,
      pointer = 0,
      argsz = 0,
      flags = 0,
      first = 0,
      step = 0,
    ) => stage.addIoctl(batch, fd, pointer, { number, encoding, argsz, flags, first, step }),
  },
  ioctls: {
    weight: 8,
    fields: { fd: FDS, pointer: PLACES, from: LISTED - LONGEST_RUN, more: LONGEST_RUN },
    parts: callsOfRun,
    issue: ({ batch, stage }, fd = 0, pointer = 0, from = 0, more = 0) =>
      stage.addIoctls(batch, fd, pointer, from, 1 + more),
  },
};

const RACING_KINDS: Readonly<Record<string, Kind<RawRun>>> = {
  ...KINDS,
  change: {
    weight: 1,
    fields: { word: CHANGES, value: CHOICES, pause: 16 },
    issue: (run, word = 0, value = 0, pause = 0) => run.stage.addChange(run, word, value, pause),
  },
};

const COMMON = {
  source: 'drivers/vfio/vfio_main.c vfio_device_fops_unl_ioctl()',
  device: 'edu',
  programs: 5,
  stage: (context: TestContext) => new RawStage(context),
};

/** Any ioctl on any kind of file. */
export const RAW_FUZZER: FuzzOptions<RawRun> = { ...COMMON, kinds: KINDS, longest: 500 };

/** The same while another thread changes the structure that the kernel is reading. */
export const RACING_FUZZER: FuzzOptions<RawRun> = {
  ...COMMON,
  kinds: RACING_KINDS,
  longest: 100,
};
