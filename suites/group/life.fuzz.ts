import {
  AT_FDCWD,
  O_CLOEXEC,
  O_RDWR,
  VFIO_DEVICE_GET_INFO,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_SET_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  fuzz,
  groupNode,
  sys,
  vfio_device_info,
  vfio_group_status,
  vfio_iommu_type1_dma_map,
  type Batch,
  type DmaMemory,
  type Kind,
  type Ref,
  type Stage,
  type TestContext,
} from '../../harness/testing/index.ts';
import { LifeModel, type ContainerState, type DeviceState, type GroupState } from './life-model.ts';

/** Integrated devices without a reset, so that opening one takes no time. */
const ROLES = ['edu', 'ivshmem'];
const WHICH = 8;
const NO_TYPE = 42;
const TYPES = [VFIO_TYPE1v2_IOMMU, VFIO_TYPE1_IOMMU, NO_TYPE];
const MOST_OPEN = 4;
const IOVA = 0x100000n;

/** A descriptor that the program holds, and what it stands for. */
interface Held<State> {
  ref: Ref;
  state: State;
}

interface LifeRun {
  batch: Batch;
  model: LifeModel;
  stage: LifeStage;
  containers: Held<ContainerState>[];
  groups: Held<GroupState>[];
  devices: Held<DeviceState>[];
  /** Every descriptor that was asked for and not closed by the program itself. */
  open: Set<Ref>;
}

class LifeStage implements Stage<LifeRun> {
  readonly nodes: string[];
  readonly names: string[];
  readonly memory: DmaMemory;

  constructor(context: TestContext) {
    const functions = ROLES.map((role) => context.bound(role));
    this.nodes = functions.map(({ group }) => groupNode(group!));
    this.names = functions.map(({ bdf }) => bdf);
    this.memory = context.memory({ size: 4096, kind: '4k' });
  }

  begin(batch: Batch): LifeRun {
    const model = new LifeModel(ROLES.length);
    return { batch, model, stage: this, containers: [], groups: [], devices: [], open: new Set() };
  }

  tidy({ batch, open }: LifeRun): void {
    for (const ref of [...open].reverse()) {
      const fd = batch.program.result(ref);
      if (fd >= 0) sys.close(fd);
    }
  }
}

/** One of those that are held, or undefined if there is none. */
function pick<State>(held: readonly Held<State>[], which: number): Held<State> | undefined {
  return held[which % Math.max(1, held.length)];
}

function opened<State>(run: LifeRun, held: Held<State>[], ref: Ref, state: State): void {
  run.batch.expectDescriptor(ref);
  run.open.add(ref);
  held.push({ ref, state });
}

/** A second descriptor of the same file. */
function duplicate<State>(
  run: LifeRun,
  held: Held<State>[],
  which: number,
  then: (state: State) => void,
): void {
  const one = pick(held, which);
  if (!one || held.length >= MOST_OPEN) return;
  opened(run, held, run.batch.program.syscall('dup', one.ref), one.state);
  then(one.state);
}

/** Closes one descriptor; what follows from it is up to the model. */
function close<State>(
  run: LifeRun,
  held: Held<State>[],
  which: number,
  then: (state: State) => void,
): void {
  const one = pick(held, which);
  if (!one) return;
  run.batch.expectResult(run.batch.program.syscall('close', one.ref), 0);
  run.open.delete(one.ref);
  held.splice(held.indexOf(one), 1);
  then(one.state);
}

function open({ batch }: LifeRun, path: string): Ref {
  return batch.program.syscall('openat', AT_FDCWD, batch.program.data(path), O_RDWR | O_CLOEXEC, 0);
}

const KINDS: Readonly<Record<string, Kind<LifeRun>>> = {
  'open-container': {
    weight: 3,
    fields: {},
    issue(run) {
      if (run.containers.length >= MOST_OPEN) return;
      const state = { type: null, groups: new Set<GroupState>(), isMapped: false };
      opened(run, run.containers, open(run, '/dev/vfio/vfio'), state);
    },
  },
  'open-group': {
    weight: 4,
    fields: { role: ROLES.length },
    issue(run, role = 0) {
      const group = run.model.groups[role]!;
      const ref = open(run, run.stage.nodes[role]!);
      const result = run.model.openGroup(group);
      if (result === 0) {
        opened(run, run.groups, ref, group);
      } else {
        run.batch.expectResult(ref, result);
        run.open.add(ref);
      }
    },
  },
  'set-container': {
    weight: 6,
    fields: { group: WHICH, container: WHICH },
    issue({ batch, model, groups, containers }, group = 0, container = 0) {
      const one = pick(groups, group);
      const other = pick(containers, container);
      if (!one || !other) return;
      const { program } = batch;
      const fd = program.data(4);
      program.store(32, fd, other.ref);
      const ref = program.syscall('ioctl', one.ref, VFIO_GROUP_SET_CONTAINER.request, fd);
      batch.expectResult(ref, model.setContainer(one.state, other.state));
    },
  },
  'unset-container': {
    weight: 2,
    fields: { group: WHICH },
    issue({ batch, model, groups }, group = 0) {
      const one = pick(groups, group);
      if (!one) return;
      const ref = batch.program.syscall('ioctl', one.ref, VFIO_GROUP_UNSET_CONTAINER.request, 0);
      batch.expectResult(ref, model.unsetContainer(one.state));
    },
  },
  'set-iommu': {
    weight: 5,
    fields: { container: WHICH, type: TYPES.length },
    issue({ batch, model, containers }, container = 0, type = 0) {
      const one = pick(containers, container);
      if (!one) return;
      const ref = batch.program.syscall('ioctl', one.ref, VFIO_SET_IOMMU.request, TYPES[type]!);
      batch.expectResult(ref, model.setIommu(one.state, TYPES[type]!));
    },
  },
  'get-device': {
    weight: 5,
    fields: { group: WHICH, wrong: 4 },
    issue(run, group = 0, wrong = 0) {
      const { batch, model, groups, stage } = run;
      const one = pick(groups, group);
      if (!one || run.devices.length >= MOST_OPEN) return;
      const isRight = wrong < 3;
      const { program } = batch;
      const name = isRight ? stage.names[one.state.role]! : '0000:00:00.9';
      const ref = program.syscall(
        'ioctl',
        one.ref,
        VFIO_GROUP_GET_DEVICE_FD.request,
        program.data(name),
      );
      const device = model.getDevice(one.state, isRight);
      if (typeof device === 'number') {
        batch.expectResult(ref, device);
        run.open.add(ref);
      } else {
        opened(run, run.devices, ref, device);
      }
    },
  },
  'duplicate-container': {
    weight: 1,
    fields: { which: WHICH },
    issue: (run, which = 0) => duplicate(run, run.containers, which, () => {}),
  },
  'duplicate-group': {
    weight: 1,
    fields: { which: WHICH },
    issue: (run, which = 0) => duplicate(run, run.groups, which, (group) => void group.fds++),
  },
  'duplicate-device': {
    weight: 1,
    fields: { which: WHICH },
    issue: (run, which = 0) => duplicate(run, run.devices, which, (device) => void device.fds++),
  },
  'close-container': {
    weight: 2,
    fields: { which: WHICH },
    issue: (run, which = 0) => close(run, run.containers, which, () => {}),
  },
  'close-group': {
    weight: 2,
    fields: { which: WHICH },
    issue: (run, which = 0) =>
      close(run, run.groups, which, (group) => run.model.closeGroup(group)),
  },
  'close-device': {
    weight: 3,
    fields: { which: WHICH },
    issue: (run, which = 0) =>
      close(run, run.devices, which, (device) => run.model.closeDevice(device)),
  },
  status: {
    weight: 2,
    fields: { group: WHICH },
    issue({ batch, groups }, group = 0) {
      const one = pick(groups, group);
      if (!one) return;
      const status = batch.program.data(vfio_group_status.encode({}));
      const ref = batch.program.syscall('ioctl', one.ref, VFIO_GROUP_GET_STATUS.request, status);
      batch.expectResult(ref, 0);
      const container = one.state.container ? VFIO_GROUP_FLAGS_CONTAINER_SET : 0;
      const expected = VFIO_GROUP_FLAGS_VIABLE | container;
      batch.check(() => {
        const { flags } = vfio_group_status.decode(status.bytes);
        if (flags === expected) return null;
        return { what: 'flags of the group', expected: String(expected), observed: String(flags) };
      });
    },
  },
  map: {
    weight: 2,
    fields: { container: WHICH },
    issue({ batch, model, stage, containers }, container = 0) {
      const one = pick(containers, container);
      if (!one) return;
      const { address } = stage.memory;
      const map = { flags: 3, vaddr: address, iova: IOVA, size: 4096n };
      const data = batch.program.data(vfio_iommu_type1_dma_map.encode(map));
      const ref = batch.program.syscall('ioctl', one.ref, VFIO_IOMMU_MAP_DMA.request, data);
      batch.expectResult(ref, model.map(one.state));
    },
  },
  'device-info': {
    weight: 2,
    fields: { which: WHICH },
    issue({ batch, devices }, which = 0) {
      const one = pick(devices, which);
      if (!one) return;
      const info = batch.program.data(vfio_device_info.encode({}));
      const ref = batch.program.syscall('ioctl', one.ref, VFIO_DEVICE_GET_INFO.request, info);
      batch.expectResult(ref, 0);
    },
  },
};

fuzz<LifeRun>(
  'group.fuzz.life',
  'in whatever order containers, groups and devices are opened, joined and closed, each lives as long as it is held',
  {
    covers: [
      VFIO_GROUP_SET_CONTAINER,
      VFIO_GROUP_UNSET_CONTAINER,
      VFIO_GROUP_GET_DEVICE_FD,
      VFIO_GROUP_GET_STATUS,
      VFIO_SET_IOMMU,
    ],
    source: [
      'drivers/vfio/group.c vfio_group_fops_release()',
      'drivers/vfio/container.c vfio_group_detach_container()',
    ],
    device: ROLES[0]!,
    uses: ROLES.slice(1),
    kinds: KINDS,
    longest: 120,
    programs: 6,
    stage: (context) => new LifeStage(context),
  },
);
