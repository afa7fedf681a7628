import {
  ERRNO,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_RESET,
  enableDevice,
  fuzz,
  racing,
  kernelAtLeast,
  reserveAddresses,
  type Batch,
  type FuzzOptions,
  type Kind,
  type Region,
  type Stage,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { RegionModel } from './region-model.ts';

const PAGE = 4096;
/** ivshmem's shared memory: every byte of it holds what is written. */
const SHARED = 2;
const SLOTS = 4;
const MOST_PAGES = 4;
/** Offsets that are played with: the first pages, and as many bytes before and behind the end. */
const NEAR = 3 * PAGE;
const OFFSETS = NEAR + 128;
/** What a program can write to at the beginning of the region, mappings included. */
const TOUCHED = NEAR + MOST_PAGES * PAGE;
const WIDTHS = [8, 16, 32, 64] as const;
/**
 * Linux 6.1 warns in untrack_pfn() (arch/x86/mm/pat/memtype.c) when such a mapping goes away after it
 * has moved; 6.12 does not: nothing that VFIO could help.
 */
const CAN_MOVE = kernelAtLeast('6.12');
const PROTECTIONS = [PROT_READ | PROT_WRITE, PROT_READ];

interface RegionRun {
  batch: Batch;
  model: RegionModel;
  stage: RegionStage;
  /** Which of a slot's two places its mapping is at. */
  places: number[];
}

class RegionStage implements Stage<RegionRun> {
  readonly fd: number;
  readonly size: number;
  readonly canReset: boolean;
  readonly #region: Region;
  readonly #config: number;
  readonly #command: number;
  readonly #addresses: number;

  constructor({ device, defer }: TestContext) {
    enableDevice(device);
    this.fd = device.fd;
    this.#region = device.region(SHARED);
    this.size = this.#region.size;
    this.canReset = (device.info().flags & VFIO_DEVICE_FLAGS_RESET) !== 0;
    this.#config = Number(device.config.info.offset);
    this.#command = device.config.read16(PCI_COMMAND);
    const area = reserveAddresses(BigInt(2 * SLOTS * MOST_PAGES * PAGE), BigInt(PAGE));
    defer(() => area.release());
    this.#addresses = Number(area.address);
  }

  /** Where a slot's mapping is: each has two places to be moved between. */
  address({ places }: RegionRun, slot: number): number {
    return this.#addresses + (2 * slot + places[slot]!) * MOST_PAGES * PAGE;
  }

  begin(batch: Batch): RegionRun {
    const model = new RegionModel(this.size, SLOTS);
    const run = { batch, model, stage: this, places: new Array<number>(SLOTS).fill(0) };
    this.addMemory(batch, true);
    const length = 2 * SLOTS * MOST_PAGES * PAGE;
    this.addNothing(batch, this.#addresses, length);
    const zeros = batch.program.data(TOUCHED);
    for (const at of [0, this.size - NEAR]) {
      const length = Math.min(TOUCHED, this.size - at);
      const ref = batch.program.syscall('pwrite', this.fd, zeros, length, this.place(at));
      batch.expectResult(ref, length);
    }
    return run;
  }

  /** The offset of a byte of the region in the device's file. */
  place(at: number): bigint {
    return this.#region.info.offset + BigInt(at);
  }

  /** Switches memory decoding in the command register. */
  addMemory({ program }: Batch, on: boolean): void {
    const value = on ? this.#command : this.#command & ~PCI_COMMAND_MEMORY;
    const word = program.data(2);
    word.bytes.writeUInt16LE(value);
    program.syscall('pwrite', this.fd, word, 2, this.#config + PCI_COMMAND);
  }

  /** Adds a mapping of nothing in place of whatever is there; nobody else gets the addresses. */
  addNothing({ program }: Batch, address: number, length: number): void {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    program.syscall('mmap', address, length, PROT_NONE, flags, -1, 0);
  }

  addUnmap(run: RegionRun, slot: number): void {
    this.addNothing(run.batch, this.address(run, slot), MOST_PAGES * PAGE);
  }
}

/** An offset near the beginning, or near the end and behind it. */
function offsetOf({ stage }: RegionRun, offset: number): number {
  return offset < NEAR ? offset : stage.size - 64 + (offset - NEAR);
}

function bytesOf(pattern: number, length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, at) => (pattern + 37 * at) & 0xff));
}

const KINDS: Readonly<Record<string, Kind<RegionRun>>> = {
  read: {
    weight: 6,
    fields: { offset: OFFSETS, more: 32 },
    issue(run, offset = 0, more = 0) {
      const { batch, model, stage } = run;
      const at = offsetOf(run, offset);
      const data = batch.program.data(1 + more);
      const ref = batch.program.syscall('pread', stage.fd, data, 1 + more, stage.place(at));
      const length = model.transfer(at, 1 + more);
      batch.expectResult(ref, length);
      if (length <= 0) return;
      const expected = model.bytes(at, length);
      batch.check(() => {
        const observed = data.bytes.subarray(0, length);
        if (observed.equals(expected)) return null;
        const what = `bytes at 0x${at.toString(16)}`;
        return { what, expected: expected.toString('hex'), observed: observed.toString('hex') };
      });
    },
  },
  write: {
    weight: 6,
    fields: { offset: OFFSETS, more: 32, pattern: 256 },
    issue(run, offset = 0, more = 0, pattern = 0) {
      const { batch, model, stage } = run;
      const at = offsetOf(run, offset);
      const bytes = bytesOf(pattern, 1 + more);
      const data = batch.program.data(bytes);
      const ref = batch.program.syscall('pwrite', stage.fd, data, bytes.length, stage.place(at));
      batch.expectResult(ref, model.write(at, bytes));
    },
  },
  map: {
    weight: 3,
    fields: { slot: SLOTS, page: 3, more: MOST_PAGES, fromEnd: 2, protection: 2 },
    issue(run, slot = 0, page = 0, more = 0, fromEnd = 0, protection = 0) {
      const { batch, model, stage } = run;
      const mapped = {
        page: fromEnd ? stage.size / PAGE - 1 - page : page,
        pages: 1 + more,
        isWritable: protection === 0,
      };
      stage.addUnmap(run, slot);
      model.slots[slot] = undefined;
      const result = model.map(slot, mapped);
      // A call that fails must not have made room at the address first.
      const address = result === 0 ? stage.address(run, slot) : 0;
      const ref = batch.program.syscall(
        'mmap',
        address,
        mapped.pages * PAGE,
        PROTECTIONS[protection]!,
        MAP_SHARED | (result === 0 ? MAP_FIXED : 0),
        stage.fd,
        stage.place(mapped.page * PAGE),
      );
      batch.expectResult(ref, result === 0 ? address : result);
    },
  },
  'map-private': {
    weight: 1,
    fields: {},
    issue({ batch, stage }) {
      const { fd } = stage;
      const ref = batch.program.syscall(
        'mmap',
        0,
        PAGE,
        PROT_READ,
        MAP_PRIVATE,
        fd,
        stage.place(0),
      );
      batch.expectResult(ref, -ERRNO.EINVAL);
    },
  },
  unmap: {
    weight: 1,
    fields: { slot: SLOTS },
    issue(run, slot = 0) {
      run.stage.addUnmap(run, slot);
      run.model.slots[slot] = undefined;
    },
  },
  move: {
    weight: 1,
    fields: { slot: SLOTS },
    issue(run, slot = 0) {
      const { batch, model, stage } = run;
      const mapped = model.slots[slot];
      if (!mapped || !CAN_MOVE) return;
      const from = stage.address(run, slot);
      run.places[slot] = 1 - run.places[slot]!;
      const to = stage.address(run, slot);
      const size = mapped.pages * PAGE;
      const flags = MREMAP_MAYMOVE | MREMAP_FIXED;
      batch.expectResult(batch.program.syscall('mremap', from, size, size, flags, to), to);
      stage.addNothing(batch, from, size);
    },
  },
  grow: {
    weight: 1,
    fields: { slot: SLOTS },
    issue(run, slot = 0) {
      const { batch, model, stage } = run;
      const mapped = model.slots[slot];
      if (!mapped) return;
      const size = mapped.pages * PAGE;
      const address = stage.address(run, slot);
      const ref = batch.program.syscall('mremap', address, size, size + PAGE, MREMAP_MAYMOVE);
      batch.expectResult(ref, -ERRNO.EFAULT);
    },
  },
  load: {
    weight: 5,
    fields: { slot: SLOTS, unit: MOST_PAGES * 512, width: WIDTHS.length },
    issue(run, slot = 0, unit = 0, width = 0) {
      const { batch, model, stage } = run;
      const at = (unit * 8) % (PAGE * (model.slots[slot]?.pages ?? 1));
      const bits = WIDTHS[width]!;
      const ref = batch.program.load(bits, stage.address(run, slot) + at);
      const result = model.access(slot, false);
      batch.expectResult(ref, result);
      if (result !== 0) return;
      const expected = model.bytes(model.place(slot, at), 8).readBigUInt64LE();
      batch.check(() => {
        const observed = batch.program.value(ref);
        const wanted = BigInt.asUintN(bits, expected);
        if (observed === wanted) return null;
        const hex = (value: bigint) => `0x${value.toString(16)}`;
        return { what: `load of ${bits} bits`, expected: hex(wanted), observed: hex(observed) };
      });
    },
  },
  store: {
    weight: 5,
    fields: { slot: SLOTS, unit: MOST_PAGES * 512, width: WIDTHS.length, pattern: 256 },
    issue(run, slot = 0, unit = 0, width = 0, pattern = 0) {
      const { batch, model, stage } = run;
      const at = (unit * 8) % (PAGE * (model.slots[slot]?.pages ?? 1));
      const bits = WIDTHS[width]!;
      const bytes = bytesOf(pattern, 8);
      const address = stage.address(run, slot) + at;
      const ref = batch.program.store(bits, address, bytes.readBigUInt64LE());
      batch.expectResult(ref, model.store(slot, at, bytes.subarray(0, bits / 8)));
    },
  },
  memory: {
    weight: 2,
    fields: { off: 2 },
    issue({ batch, model, stage }, off = 0) {
      stage.addMemory(batch, off === 0);
      model.isEnabled = off === 0;
    },
  },
  reset: {
    weight: 1,
    fields: {},
    issue({ batch, stage }) {
      const ref = batch.program.syscall('ioctl', stage.fd, VFIO_DEVICE_RESET.request, 0);
      batch.expectResult(ref, stage.canReset ? 0 : -ERRNO.EINVAL);
    },
  },
};

const FUZZER: FuzzOptions<RegionRun> = {
  covers: [VFIO_DEVICE_RESET],
  source: [
    'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_bar_rw()',
    'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_mmap()',
  ],
  device: 'ivshmem',
  kinds: KINDS,
  longest: 600,
  programs: 6,
  stage: (context) => new RegionStage(context),
};

fuzz(
  'device.fuzz.region',
  'whatever is read, written, mapped and disabled, the file and the mappings of a region show the same memory',
  FUZZER,
);

fuzz(
  'device.fuzz.region-racing',
  'threads that read, write, map and disable a region at once leave one memory behind',
  racing(FUZZER, ['move', 'grow']),
);
