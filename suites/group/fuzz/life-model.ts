import { ERRNO, VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU } from '../../../harness/testing/index.ts';

/** A container as the kernel has it; descriptors of it may be gone, and its groups keep it. */
export interface ContainerState {
  /** IOMMU type; null without one. */
  type: number | null;
  readonly groups: Set<GroupState>;
  /** Whether the one page that programs map is mapped. */
  isMapped: boolean;
}

/** An IOMMU group of one device. */
export interface GroupState {
  /** Index of the device's role. */
  role: number;
  container: ContainerState | null;
  /** Descriptors of the group's file, and files of its device. */
  fds: number;
  devices: number;
  /** Whether its device has left: who still has it open has nothing. */
  isGone: boolean;
}

/** Where the device of a group is: with VFIO, without a driver, out of the system. */
export type Presence = 'bound' | 'unbound' | 'removed';

/** A device's file. */
export interface DeviceState {
  group: GroupState;
  fds: number;
}

/**
 * drivers/vfio/group.c and container.c as a small program: who keeps whom alive, and what each
 * request is answered with. Results are 0 or -errno.
 */
export class LifeModel {
  /** By role; of a device that has left, the group that it had. */
  readonly #groups: GroupState[];
  readonly #presences: Presence[];

  constructor(roles: number) {
    this.#groups = Array.from({ length: roles }, (_, role) => newGroup(role));
    this.#presences = this.#groups.map(() => 'bound');
  }

  /** Where the devices are, by role. */
  get presences(): readonly Presence[] {
    return this.#presences;
  }

  /** vfio_group_fops_open(): one file at a time, which devices keep open too. The group, or -errno. */
  openGroup(role: number): GroupState | number {
    const group = this.#groups[role]!;
    if (group.isGone) return -ERRNO.ENOENT;
    if (group.fds > 0 || group.devices > 0) return -ERRNO.EBUSY;
    group.fds = 1;
    return group;
  }

  /** Whether nobody has the device open, so that it can be taken away at once. */
  canLeave(role: number): boolean {
    return this.#presences[role] === 'bound' && this.#groups[role]!.devices === 0;
  }

  /** vfio_device_remove_group(): the group goes with its only device, and leaves its container. */
  leave(role: number, presence: 'unbound' | 'removed'): void {
    const group = this.#groups[role]!;
    this.#detach(group);
    group.isGone = true;
    this.#presences[role] = presence;
  }

  /** vfio_device_set_group(): a group as new, whoever may have the old one open. */
  arrive(role: number): void {
    this.#groups[role] = newGroup(role);
    this.#presences[role] = 'bound';
  }

  closeGroup(group: GroupState): void {
    group.fds--;
    this.#release(group);
  }

  closeDevice(device: DeviceState): void {
    device.fds--;
    if (device.fds > 0) return;
    device.group.devices--;
    this.#release(device.group);
  }

  /** vfio_group_fops_release() */
  #release(group: GroupState): void {
    if (group.fds === 0 && group.devices === 0) this.#detach(group);
  }

  /** vfio_group_detach_container(): the last group takes the IOMMU along. */
  #detach(group: GroupState): void {
    const { container } = group;
    group.container = null;
    container?.groups.delete(group);
    if (container?.groups.size === 0) {
      container.type = null;
      container.isMapped = false;
    }
  }

  setContainer(group: GroupState, container: ContainerState): number {
    if (group.container) return -ERRNO.EINVAL;
    if (group.isGone) return -ERRNO.ENODEV;
    group.container = container;
    container.groups.add(group);
    return 0;
  }

  unsetContainer(group: GroupState): number {
    if (!group.container) return -ERRNO.EINVAL;
    if (group.devices > 0) return -ERRNO.EBUSY;
    this.#detach(group);
    return 0;
  }

  /** vfio_ioctl_set_iommu() */
  setIommu(container: ContainerState, type: number): number {
    if (container.groups.size === 0 || container.type !== null) return -ERRNO.EINVAL;
    if (type !== VFIO_TYPE1_IOMMU && type !== VFIO_TYPE1v2_IOMMU) return -ERRNO.ENODEV;
    container.type = type;
    return 0;
  }

  /** vfio_group_ioctl_get_device_fd(): the device's file, or -errno. */
  getDevice(group: GroupState, isRightName: boolean): DeviceState | number {
    if (!isRightName || group.isGone) return -ERRNO.ENODEV;
    if (!group.container || group.container.type === null) return -ERRNO.EINVAL;
    group.devices++;
    return { group, fds: 1 };
  }

  /** A map of the one page. */
  map(container: ContainerState): number {
    if (container.type === null) return -ERRNO.EINVAL;
    if (container.isMapped) return -ERRNO.EEXIST;
    container.isMapped = true;
    return 0;
  }
}

function newGroup(role: number): GroupState {
  return { role, container: null, fds: 0, devices: 0, isGone: false };
}
