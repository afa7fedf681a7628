import type { FuzzOptions, Kind, TestContext } from '../../harness/testing/index.ts';
import {
  CHANGES,
  CHOICES,
  ENCODINGS,
  FDS,
  NUMBERS,
  PLACES,
  RawStage,
  type RawRun,
} from './raw-stage.ts';

/** Sizes of structures, and what no structure has. */
const SIZES = [0, 4, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 4096, 0x7fff_ffff, 0xffff_ffff];
/** VFIO_DEVICE_FEATURE has a number in its low bits and GET, SET and PROBE above them. */
const FEATURES = 12;
const FEATURE_ACTIONS = [0x1_0000, 0x2_0000, 0x5_0000, 0x6_0000];
const DEVICE = 2;
const DEVICE_FEATURE = 17;

const KINDS: Readonly<Record<string, Kind<RawRun>>> = {
  ioctl: {
    weight: 8,
    fields: {
      fd: FDS,
      number: NUMBERS,
      encoding: ENCODINGS.length,
      pointer: PLACES,
      argsz: SIZES.length,
      flags: 64,
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
    ) => {
      const bits = flags < 63 ? flags : 0xffff_ffff;
      stage.addIoctl(batch, fd, number, encoding, pointer, SIZES[argsz]!, bits, first, step);
    },
  },
  feature: {
    weight: 1,
    fields: {
      feature: FEATURES,
      action: FEATURE_ACTIONS.length,
      pointer: PLACES,
      argsz: SIZES.length,
      first: CHOICES,
    },
    issue: ({ batch, stage }, feature = 0, action = 0, pointer = 0, argsz = 0, first = 0) => {
      const flags = FEATURE_ACTIONS[action]! | feature;
      stage.addIoctl(batch, DEVICE, DEVICE_FEATURE, 0, pointer, SIZES[argsz]!, flags, first, 1);
    },
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
export const RAW_FUZZER: FuzzOptions<RawRun> = { ...COMMON, kinds: KINDS, longest: 4000 };

/** The same while another thread changes the structure that the kernel is reading. */
export const RACING_FUZZER: FuzzOptions<RawRun> = {
  ...COMMON,
  kinds: RACING_KINDS,
  longest: 1000,
};
