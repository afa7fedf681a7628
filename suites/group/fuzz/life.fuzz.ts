import {
  ERRNO,
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
  racing,
  vfio_device_info,
  vfio_group_status,
  vfio_iommu_type1_dma_map,
  type FuzzOptions,
  type Kind,
} from '../../../harness/testing/index.ts';
import { BINDING } from './life-binding.ts';
import type { GroupState } from './life-model.ts';
import { PASSING } from './life-passing.ts';
import {
  LifeStage,
  ROLES,
  addOpenContainer,
  close,
  duplicate,
  isFull,
  opened,
  pick,
  refused,
  type LifeRun,
} from './life-stage.ts';

const WHICH = 8;
const NO_TYPE = 42;
const TYPES = [VFIO_TYPE1v2_IOMMU, VFIO_TYPE1_IOMMU, NO_TYPE];
const IOVA = 0x100000n;

const KINDS: Readonly<Record<string, Kind<LifeRun>>> = {
  'open-container': {
    weight: 3,
    fields: {},
    issue(run) {
      if (isFull(run.containers)) return;
      const state = { type: null, groups: new Set<GroupState>(), isMapped: false };
      opened(run, run.containers, addOpenContainer(run), state);
    },
  },
  'open-group': {
    weight: 4,
    fields: { role: ROLES.length },
    issue(run, role = 0) {
      if (isFull(run.groups)) return;
      const ref = run.stage.addOpenGroup(run, role);
      const group = run.model.openGroup(role);
      if (typeof group === 'number') refused(run, ref, group);
      else opened(run, run.groups, ref, group);
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
      program.store(32, fd, other.descriptor.ref);
      const ref = program.syscall(
        'ioctl',
        one.descriptor.ref,
        VFIO_GROUP_SET_CONTAINER.request,
        fd,
      );
      batch.expectResult(ref, model.setContainer(one.state, other.state));
    },
  },
  'unset-container': {
    weight: 2,
    fields: { group: WHICH },
    issue({ batch, model, groups }, group = 0) {
      const one = pick(groups, group);
      if (!one) return;
      const ref = batch.program.syscall(
        'ioctl',
        one.descriptor.ref,
        VFIO_GROUP_UNSET_CONTAINER.request,
        0,
      );
      batch.expectResult(ref, model.unsetContainer(one.state));
    },
  },
  'set-iommu': {
    weight: 5,
    fields: { container: WHICH, type: TYPES.length },
    issue({ batch, model, containers }, container = 0, type = 0) {
      const one = pick(containers, container);
      if (!one) return;
      const ref = batch.program.syscall(
        'ioctl',
        one.descriptor.ref,
        VFIO_SET_IOMMU.request,
        TYPES[type]!,
      );
      batch.expectResult(ref, model.setIommu(one.state, TYPES[type]!));
    },
  },
  'get-device': {
    weight: 5,
    fields: { group: WHICH, wrong: 4 },
    issue(run, group = 0, wrong = 0) {
      const { batch, model, groups, stage } = run;
      const one = pick(groups, group);
      if (!one || isFull(run.devices)) return;
      const isRight = wrong < 3;
      const { program } = batch;
      const name = isRight ? stage.names[one.state.role]! : '0000:00:00.9';
      const ref = program.syscall(
        'ioctl',
        one.descriptor.ref,
        VFIO_GROUP_GET_DEVICE_FD.request,
        program.data(name),
      );
      const device = model.getDevice(one.state, isRight);
      if (typeof device === 'number') refused(run, ref, device);
      else opened(run, run.devices, ref, device);
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
      const { request } = VFIO_GROUP_GET_STATUS;
      const ref = batch.program.syscall('ioctl', one.descriptor.ref, request, status);
      batch.expectResult(ref, one.state.isGone ? -ERRNO.ENODEV : 0);
      if (one.state.isGone) return;
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
      const ref = batch.program.syscall(
        'ioctl',
        one.descriptor.ref,
        VFIO_IOMMU_MAP_DMA.request,
        data,
      );
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
      const ref = batch.program.syscall(
        'ioctl',
        one.descriptor.ref,
        VFIO_DEVICE_GET_INFO.request,
        info,
      );
      batch.expectResult(ref, 0);
    },
  },
  ...PASSING,
  ...BINDING,
};

const FUZZER: FuzzOptions<LifeRun> = {
  covers: [
    VFIO_GROUP_SET_CONTAINER,
    VFIO_GROUP_UNSET_CONTAINER,
    VFIO_GROUP_GET_DEVICE_FD,
    VFIO_GROUP_GET_STATUS,
    VFIO_SET_IOMMU,
  ],
  source: [
    'drivers/vfio/group.c vfio_group_fops_release()',
    'drivers/vfio/group.c vfio_device_remove_group()',
    'drivers/vfio/container.c vfio_group_detach_container()',
  ],
  device: ROLES[0]!,
  uses: ROLES.slice(1),
  kinds: KINDS,
  longest: 240,
  programs: 6,
  stage: (context) => new LifeStage(context),
};

fuzz(
  'group.fuzz.life',
  'in whatever order containers, groups and devices are opened, joined, passed on, closed and taken away, each lives as long as it is held',
  FUZZER,
);

fuzz(
  'group.fuzz.life-racing',
  'threads that open, join, pass on and close containers, groups and devices at once leave nothing held',
  racing(FUZZER, Object.keys(BINDING)),
);
