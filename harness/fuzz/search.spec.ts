import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EFD_CLOEXEC, EFD_NONBLOCK } from '../abi/libc.ts';
import { ERRNO, setLiar, sys } from '../shim/index.ts';
import type { Batch } from './batch.ts';
import type { Fuzzer, Stage } from './fuzzer.ts';
import { parseProgram, printProgram } from './operation.ts';
import { ProgramArbitrary } from './program-arbitrary.ts';
import { programAt, search } from './search.ts';

interface Run {
  batch: Batch;
  fd: number;
  count: number;
}

/** The counter of an eventfd (man 2 eventfd), on the kernel that the tests run on. */
const EVENTFD: Fuzzer<Run> = {
  longest: 200,
  kinds: {
    add: {
      weight: 3,
      fields: { number: 50 },
      issue(run, number = 0) {
        const value = run.batch.program.data(8);
        value.bytes.writeUInt32LE(number);
        run.batch.expectResult(run.batch.program.syscall('write', run.fd, value, 8), 8);
        run.count += number;
      },
    },
    take: {
      weight: 1,
      fields: {},
      issue(run) {
        const value = run.batch.program.data(8);
        const ref = run.batch.program.syscall('read', run.fd, value, 8);
        run.batch.expectResult(ref, run.count > 0 ? 8 : -ERRNO.EAGAIN);
        if (run.count > 0) run.batch.expectU64(value, 0, run.count);
        run.count = 0;
      },
    },
  },
};

let fd = -1;
const stage: Stage<Run> = {
  begin(batch) {
    batch.program.syscall('read', fd, batch.program.data(8), 8);
    return { batch, fd, count: 0 };
  },
};

beforeEach(() => void (fd = sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)));
afterEach(() => {
  setLiar(null);
  sys.close(fd);
});

/** A counter that loses what comes after 40. */
function plantBug(): void {
  setLiar(({ op, program }) => {
    const { name, result, args } = program.op(op);
    if (name !== 'read' || result !== 8n || args[1]?.kind !== 'arena') return;
    const value = program.arenaBytes(args[1].offset, 8);
    if (value.readBigUInt64LE() > 40n) value.writeBigUInt64LE(40n);
  });
}

const RANGE = { seed: 7, from: 0, to: 30 };

describe('a search', () => {
  it('finds nothing wrong with a kernel that keeps its promise', () => {
    expect(search(EVENTFD, stage, RANGE)).toBeNull();
  });

  it('finds a planted bug and the shortest program that shows it, twenty times the same', () => {
    plantBug();
    const found = Array.from({ length: 20 }, () => search(EVENTFD, stage, RANGE)!);
    const [first] = found;
    expect(first!.shortest.length).toBeLessThanOrEqual(3);
    expect(first!.found.length).toBeGreaterThan(50);
    expect(first!.difference).toMatchObject({ expected: expect.any(String), observed: '0x28' });
    for (const finding of found) expect(finding).toEqual(first);
  });
});

it('shrinks what stands for several operations to one of them', () => {
  plantBug();
  const many: Fuzzer<Run> = {
    longest: 20,
    kinds: {
      ...EVENTFD.kinds,
      'add-and-take': {
        weight: 8,
        fields: { number: 50 },
        parts: (number = 0) => [
          { kind: 'add', values: [number] },
          { kind: 'take', values: [] },
        ],
        issue(run, number = 0) {
          EVENTFD.kinds['add']!.issue(run, number);
          EVENTFD.kinds['take']!.issue(run);
        },
      },
    },
  };
  const { shortest } = search(many, stage, RANGE)!;
  expect(printProgram(many.kinds, shortest)).toBe('add number=41; take');
});

describe('programs', () => {
  const programs = new ProgramArbitrary(EVENTFD.kinds, EVENTFD.longest);

  it('are the same for the same seed, and others for another', () => {
    const of = (seed: number) => printProgram(EVENTFD.kinds, programAt(programs, seed, 3));
    expect(new Set(Array.from({ length: 20 }, () => of(1))).size).toBe(1);
    expect(of(2)).not.toBe(of(1));
  });

  it('are read as they are printed', () => {
    const program = programAt(programs, 1, 0);
    expect(parseProgram(EVENTFD.kinds, printProgram(EVENTFD.kinds, program))).toEqual(program);
  });

  it('may be written by hand, with comments and one operation a line', () => {
    const text = '# kept because of a bug\nadd number=3\ntake # all of it\n';
    expect(parseProgram(EVENTFD.kinds, text)).toEqual([
      { kind: 'add', values: [3] },
      { kind: 'take', values: [] },
    ]);
    expect(() => parseProgram(EVENTFD.kinds, 'add number=50')).toThrow('too large');
    expect(() => parseProgram(EVENTFD.kinds, 'subtract')).toThrow('there is no operation');
  });
});
