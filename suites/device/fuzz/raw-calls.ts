import { seededNumbers, type Operation } from '../../../harness/testing/index.ts';

/** Numbers of ioctls that are tried, from the first on. */
export const NUMBERS = 24;
/** VFIO_DEVICE_FEATURE, and what it is of other files. */
const FEATURE = 17;
/** Direction and size as other subsystems put them into a number: VFIO has neither. */
export const ENCODINGS = [0, 0, 0, 0x8000_0000, 0x4018_0000, 0xc020_0000];
/** Sizes of structures, and what no structure has. */
export const SIZES = [
  0, 4, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 4096, 0x7fff_ffff, 0xffff_ffff,
];
/** VFIO_DEVICE_FEATURE has a number in its low bits and GET, SET and PROBE above them. */
const FEATURES = 12;
const FEATURE_ACTIONS = [0x1_0000, 0x2_0000, 0x5_0000, 0x6_0000];
const FEATURE_FLAGS = FEATURE_ACTIONS.flatMap((action) =>
  Array.from({ length: FEATURES }, (_, feature) => action | feature),
);
const LOW_FLAGS = 63;
export const FLAGS = [
  ...Array.from({ length: LOW_FLAGS }, (_, bits) => bits),
  0xffff_ffff,
  ...FEATURE_FLAGS,
];
/** How many different words a structure may begin with, and how far the next one may be. */
export const CHOICES = 16;

/** An ioctl and its structure, each field the number of a choice. */
export interface RawCall {
  number: number;
  encoding: number;
  argsz: number;
  flags: number;
  first: number;
  step: number;
}

/** Calls in the list that programs take runs of. */
export const LISTED = 4096;
/** Calls of a run, at most. */
export const LONGEST_RUN = 128;

/** A call of the list: as good as any other, and always the same. */
export function listedCall(index: number): RawCall {
  const next = seededNumbers(Math.imul(index + 1, 0x9e37_79b1));
  const call = {
    number: next(NUMBERS),
    encoding: next(ENCODINGS.length),
    argsz: next(SIZES.length),
    flags: next(LOW_FLAGS + 1),
    first: next(CHOICES),
    step: next(CHOICES),
  };
  // Chance would hardly ever make a feature of it.
  if (next(8) > 0) return call;
  const flags = LOW_FLAGS + 1 + next(FEATURE_FLAGS.length);
  return { ...call, number: FEATURE, encoding: 0, flags };
}

/** The calls of a run, one by one. */
export function callsOfRun(fd = 0, pointer = 0, from = 0, more = 0): Operation[] {
  return Array.from({ length: 1 + more }, (_, index) => {
    const { number, encoding, argsz, flags, first, step } = listedCall(from + index);
    return { kind: 'ioctl', values: [fd, number, encoding, pointer, argsz, flags, first, step] };
  });
}
