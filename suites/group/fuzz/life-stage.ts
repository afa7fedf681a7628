import {
  AF_UNIX,
  AT_FDCWD,
  O_CLOEXEC,
  O_RDWR,
  O_WRONLY,
  OWN_MACHINE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  bindTo,
  groupNode,
  kernelAtLeast,
  rescan,
  sys,
  type Batch,
  type Data,
  type DmaMemory,
  type PciFunction,
  type Ref,
  type Stage,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { LifeModel, type ContainerState, type DeviceState, type GroupState } from './life-model.ts';

/** Integrated devices without a reset, so that opening one takes no time. */
export const ROLES = ['edu', 'ivshmem'];
const MOST_OPEN = 4;
/** Before, a group that is open kept its device from being unbound (vfio_device_remove_group()). */
const REVOKES_GROUPS = kernelAtLeast('6.2');
const DRIVER = 'vfio-pci';

/** A number of a file that a program got. */
export interface Descriptor {
  /** Stands for the number within the program. */
  ref: Ref;
  /** The number after the run; negative if there is none. */
  number(): number;
}

/** A descriptor that the program holds, and what it stands for. */
export interface Held<State> {
  descriptor: Descriptor;
  state: State;
}

/** A descriptor on its way through a socket. */
export interface Passed {
  /** Whether the program holds as many of its kind as it may. */
  isUnwanted(): boolean;
  /** It has come through. */
  hold(descriptor: Descriptor): void;
  /** Whoever got it is gone. */
  drop(): void;
}

export interface LifeRun {
  batch: Batch;
  model: LifeModel;
  stage: LifeStage;
  containers: Held<ContainerState>[];
  groups: Held<GroupState>[];
  devices: Held<DeviceState>[];
  /** In the order in which they were sent. */
  passed: Passed[];
  /** Both ends of a pair of sockets. */
  sockets: readonly [Descriptor, Descriptor];
  /** Every descriptor that was asked for and not closed by the program itself. */
  open: Set<Descriptor>;
}

/** Two devices, their groups, and a way for descriptors out of the process and back. */
export class LifeStage implements Stage<LifeRun> {
  readonly names: string[];
  readonly memory: DmaMemory;
  /** Whether devices may be taken from the driver, and from the system. */
  readonly canRebind = REVOKES_GROUPS && OWN_MACHINE.missing() === null;
  readonly #functions: PciFunction[];
  #nodes: string[];

  constructor(context: TestContext) {
    this.#functions = ROLES.map((role) => context.bound(role));
    this.names = this.#functions.map(({ bdf }) => bdf);
    this.#nodes = this.#findNodes();
    this.memory = context.memory({ size: 4096, kind: '4k' });
    context.defer(() => this.#putBack());
  }

  #findNodes(): string[] {
    return this.#functions.map(({ group }) => groupNode(group!));
  }

  begin(batch: Batch): LifeRun {
    const model = new LifeModel(ROLES.length);
    const numbers = batch.program.data(8);
    batch.expectResult(
      batch.program.syscall('socketpair', AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, numbers),
      0,
    );
    const sockets = [loaded(batch, numbers, 0), loaded(batch, numbers, 4)] as const;
    const none = { containers: [], groups: [], devices: [], passed: [] };
    return { batch, model, stage: this, ...none, sockets, open: new Set(sockets) };
  }

  /** Adds the opening of a group's node. */
  addOpenGroup({ batch }: LifeRun, role: number): Ref {
    return addOpen(batch, this.#nodes[role]!, O_RDWR);
  }

  /** Adds a write of the device's name to an attribute of the driver: it gives the device up, or takes it. */
  addRebind({ batch }: LifeRun, role: number, attribute: 'bind' | 'unbind'): void {
    this.#addWrite(batch, `/sys/bus/pci/drivers/${DRIVER}/${attribute}`, this.names[role]!);
  }

  /** Adds the removal of the device from the system. */
  addRemove({ batch }: LifeRun, role: number): void {
    this.#addWrite(batch, `${this.#functions[role]!.path}/remove`, '1');
  }

  #addWrite(batch: Batch, path: string, text: string): void {
    const { program } = batch;
    const fd = addOpen(batch, path, O_WRONLY);
    batch.expectResult(program.syscall('write', fd, program.data(text), text.length), text.length);
    batch.expectResult(program.syscall('close', fd), 0);
  }

  tidy({ model, open }: LifeRun): void {
    for (const descriptor of [...open].reverse()) {
      const fd = descriptor.number();
      if (fd >= 0) sys.close(fd);
    }
    if (model.presences.some((presence) => presence !== 'bound')) this.#putBack();
  }

  #putBack(): void {
    if (!this.canRebind) return;
    if (this.#functions.some(({ exists }) => !exists)) rescan();
    for (const pci of this.#functions) bindTo(pci, DRIVER);
    this.#nodes = this.#findNodes();
  }
}

function addOpen({ program }: Batch, path: string, flags: number): Ref {
  return program.syscall('openat', AT_FDCWD, program.data(path), flags | O_CLOEXEC, 0);
}

/** What a call returned. */
export function returned({ program }: Batch, ref: Ref): Descriptor {
  return { ref, number: () => program.result(ref) };
}

/** What a call wrote, or what was there before. */
export function loaded({ program }: Batch, data: Data, offset: number): Descriptor {
  const ref = program.load(32, data.at(offset));
  return { ref, number: () => data.bytes.readInt32LE(offset) };
}

/** One of those that are held, or undefined if there is none. */
export function pick<State>(held: readonly Held<State>[], which: number): Held<State> | undefined {
  return held[which % Math.max(1, held.length)];
}

/** Whether the program holds as many as it may. */
export function isFull(held: readonly Held<unknown>[]): boolean {
  return held.length >= MOST_OPEN;
}

/** The call must return a descriptor. */
export function opened<State>(run: LifeRun, held: Held<State>[], ref: Ref, state: State): void {
  const descriptor = returned(run.batch, ref);
  run.batch.expectDescriptor(ref);
  run.open.add(descriptor);
  held.push({ descriptor, state });
}

/** The call must fail; if it does not, what it returned is closed all the same. */
export function refused(run: LifeRun, ref: Ref, errno: number): void {
  run.batch.expectResult(ref, errno);
  run.open.add(returned(run.batch, ref));
}

/** Adds the opening of a container. */
export function addOpenContainer({ batch }: LifeRun): Ref {
  return addOpen(batch, '/dev/vfio/vfio', O_RDWR);
}

/** A second descriptor of the same file. */
export function duplicate<State>(
  run: LifeRun,
  held: Held<State>[],
  which: number,
  then: (state: State) => void,
): void {
  const one = pick(held, which);
  if (!one || isFull(held)) return;
  opened(run, held, run.batch.program.syscall('dup', one.descriptor.ref), one.state);
  then(one.state);
}

/** Closes one descriptor; what follows from it is up to the model. */
export function close<State>(
  run: LifeRun,
  held: Held<State>[],
  which: number,
  then: (state: State) => void,
): void {
  const one = pick(held, which);
  if (!one) return;
  run.batch.expectResult(run.batch.program.syscall('close', one.descriptor.ref), 0);
  run.open.delete(one.descriptor);
  held.splice(held.indexOf(one), 1);
  then(one.state);
}
