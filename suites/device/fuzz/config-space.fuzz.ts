import {
  ConfigPair,
  ERRNO,
  O_CLOEXEC,
  O_RDONLY,
  fuzz,
  racing,
  sys,
  type Batch,
  type Data,
  type FuzzOptions,
  type Kind,
  type Stage,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { BAR_OFFSETS, ConfigFuzzModel } from './config-model.ts';

const SOURCE = 'drivers/vfio/pci/vfio_pci_config.c vfio_pci_config_rw()';
const MOST_BYTES = 8;
/** Patterns that reach all bits; any other value follows from a multiplication. */
const PATTERNS = [0x00, 0xff, 0x55, 0xaa];

interface ConfigRun {
  batch: Batch;
  model: ConfigFuzzModel;
  stage: ConfigStage;
}

/** Config space from both sides: through VFIO, and past it. */
class ConfigStage implements Stage<ConfigRun> {
  readonly #pair: ConfigPair;
  readonly #device: number;
  /** Where the config region begins in the device's file. */
  readonly #base: number;
  readonly #hardware: number;
  readonly #initial: Buffer;
  readonly #decoded: Buffer;

  constructor(context: TestContext) {
    const { device, pci, defer } = context;
    this.#pair = new ConfigPair(device, pci);
    defer(() => this.#pair.close());
    const { view } = this.#pair;
    this.#device = device.fd;
    this.#base = Number(view.info.offset);
    this.#hardware = sys.open(`${pci.path}/config`, O_RDONLY | O_CLOEXEC);
    defer(() => void sys.close(this.#hardware));
    this.#initial = view.readAll();
    this.#decoded = Buffer.alloc(view.size, 0xff);
    for (const at of BAR_OFFSETS) {
      view.write32(at, 0xffff_ffff);
      const ones = view.read32(at);
      view.write32(at, 0);
      this.#decoded.writeUInt32LE((ones & ~view.read32(at)) >>> 0, at);
    }
  }

  get size(): number {
    return this.#pair.view.size;
  }

  begin(batch: Batch): ConfigRun {
    const model = new ConfigFuzzModel(this.#pair, this.#initial, this.#decoded);
    for (const { at, width } of model.registers) {
      const bytes = model.allowed(at, model.initial(at, width));
      this.addWrite(batch, at, bytes, width);
    }
    return { batch, model, stage: this };
  }

  addWrite(batch: Batch, at: number, bytes: Buffer, expected: number): void {
    const { program } = batch;
    const data = program.data(bytes);
    const ref = program.syscall('pwrite', this.#device, data, bytes.length, this.#base + at);
    batch.expectResult(ref, expected);
  }

  addRead(batch: Batch, at: number, length: number, expected: number): Data {
    const { program } = batch;
    const data = program.data(length);
    const ref = program.syscall('pread', this.#device, data, length, this.#base + at);
    batch.expectResult(ref, expected);
    return data;
  }

  /** Adds a look at the same bytes past VFIO. */
  addHardware({ program }: Batch, at: number, length: number): Data {
    const data = program.data(length);
    program.syscall('pread', this.#hardware, data, length, at);
    return data;
  }
}

/** The bytes of a read as both sides must have them; `before` and `after` are the hardware's. */
function checkRead(
  { batch, model }: ConfigRun,
  at: number,
  [before, shown, after]: readonly [Data, Data, Data],
): void {
  const { virtual } = model;
  const copy = Buffer.from(model.copy.subarray(at, at + shown.length));
  batch.check(() => {
    const wrong = shown.bytes.findIndex((byte, offset) => {
      const mask = virtual[at + offset]!;
      const isCopy = ((byte ^ copy[offset]!) & mask) === 0;
      const isHardware = [before, after].some(
        ({ bytes }) => ((byte ^ bytes[offset]!) & ~mask & 0xff) === 0,
      );
      return !isCopy || !isHardware;
    });
    if (wrong < 0) return null;
    const mask = virtual[at + wrong]!;
    const expected = (copy[wrong]! & mask) | (after.bytes[wrong]! & ~mask & 0xff);
    return {
      what: `byte at 0x${(at + wrong).toString(16)}`,
      expected: `0x${expected.toString(16)}`,
      observed: `0x${shown.bytes[wrong]!.toString(16)}`,
    };
  });
}

function checkHardware({ batch, model }: ConfigRun, at: number, before: Data, after: Data): void {
  batch.check(() => {
    const changed = after.bytes.findIndex(
      (byte, offset) => ((byte ^ before.bytes[offset]!) & model.fixed[at + offset]!) !== 0,
    );
    if (changed < 0) return null;
    return {
      what: `byte at 0x${(at + changed).toString(16)} of the hardware, after a write through VFIO`,
      expected: `0x${before.bytes[changed]!.toString(16)}`,
      observed: `0x${after.bytes[changed]!.toString(16)}`,
    };
  });
}

function read(run: ConfigRun, at: number, length: number): void {
  const { batch, model, stage } = run;
  if (at + length > model.size) {
    stage.addRead(batch, at, length, -ERRNO.EFAULT);
    return;
  }
  const before = stage.addHardware(batch, at, length);
  const shown = stage.addRead(batch, at, length, length);
  checkRead(run, at, [before, shown, stage.addHardware(batch, at, length)]);
}

function write(run: ConfigRun, at: number, wanted: Buffer): void {
  const { batch, model, stage } = run;
  if (at + wanted.length > model.size) {
    stage.addWrite(batch, at, wanted, -ERRNO.EFAULT);
    return;
  }
  const bytes = model.allowed(at, wanted);
  const before = stage.addHardware(batch, at, bytes.length);
  stage.addWrite(batch, at, bytes, bytes.length);
  model.write(at, bytes);
  checkHardware(run, at, before, stage.addHardware(batch, at, bytes.length));
}

/** Bytes that a number stands for. */
function bytesOf(pattern: number, length: number): Buffer {
  return Buffer.from(
    Array.from({ length }, (_, at) =>
      pattern < PATTERNS.length ? PATTERNS[pattern]! : (pattern * 167 + at * 59) & 0xff,
    ),
  );
}

const ANYWHERE = 4096 + 16;

const KINDS: Readonly<Record<string, Kind<ConfigRun>>> = {
  'read-header': {
    weight: 3,
    fields: { at: 256, more: MOST_BYTES },
    issue: (run, at = 0, more = 0) => read(run, at, 1 + more),
  },
  'write-header': {
    weight: 3,
    fields: { at: 256, more: MOST_BYTES, pattern: 256 },
    issue: (run, at = 0, more = 0, pattern = 0) => write(run, at, bytesOf(pattern, 1 + more)),
  },
  'read-register': {
    weight: 4,
    fields: { which: 64, more: 4 },
    issue(run, which = 0, more = 0) {
      const { at, width } = run.model.registers[which % run.model.registers.length]!;
      read(run, at, Math.max(width, 1 + more));
    },
  },
  'write-register': {
    weight: 4,
    fields: { which: 64, pattern: 256 },
    issue(run, which = 0, pattern = 0) {
      const { at, width } = run.model.registers[which % run.model.registers.length]!;
      write(run, at, bytesOf(pattern, width));
    },
  },
  'read-anywhere': {
    weight: 2,
    fields: { at: ANYWHERE, more: MOST_BYTES },
    issue: (run, at = 0, more = 0) => read(run, at, 1 + more),
  },
  'write-anywhere': {
    weight: 2,
    fields: { at: ANYWHERE, more: MOST_BYTES, pattern: 256 },
    issue: (run, at = 0, more = 0, pattern = 0) => write(run, at, bytesOf(pattern, 1 + more)),
  },
};

const FUZZER: FuzzOptions<ConfigRun> = {
  source: SOURCE,
  devices: ['edu', 'igb', 'nvme', 'e1000e'],
  kinds: KINDS,
  longest: 600,
  programs: 3,
  stage: (context) => new ConfigStage(context),
};

fuzz(
  'device.fuzz.config-space',
  "whatever is written to config space, it reads as the tables say and the hardware keeps what is not the user's",
  FUZZER,
);

fuzz(
  'device.fuzz.config-space-racing',
  'threads that read and write config space at once leave it as the tables say',
  racing(FUZZER),
);
