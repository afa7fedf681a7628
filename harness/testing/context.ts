import { VFIO_TYPE1v2_IOMMU } from '../abi/vfio.ts';
import { Actor, DmaMemory } from '../shim/index.ts';
import { KernelLog } from '../kernel/kmsg.ts';
import type { PciFunction } from '../pci/topology.ts';
import { CdevDevice } from '../vfio/cdev.ts';
import { Container } from '../vfio/container.ts';
import type { Device } from '../vfio/device.ts';
import { Eventfd } from '../vfio/eventfd.ts';
import { Group } from '../vfio/group.ts';
import { Iommufd } from '../vfio/iommufd.ts';
import type { Mapping, Region } from '../vfio/region.ts';
import { bindForTest, functionInRole } from './machine.ts';
import { require, SkipError } from './requirement.ts';
import { dmaMemory } from './requirements.ts';
import type { Teardown } from './teardown.ts';

/** A device of a test with all that leads to it. */
export interface OpenDevice {
  pci: PciFunction;
  group: Group;
  device: Device;
}

type MemoryOptions = Parameters<typeof DmaMemory.allocate>[0];
type ActorOptions = Parameters<typeof Actor.spawn>[0];

/**
 * What a test body gets. Each fixture is built when it is first named, and undone after the test in
 * reverse order. Functions may be taken apart: `({ container, memory }) => …`.
 */
export class TestContext {
  /** Role of the test's device. */
  readonly role: string;
  readonly #teardown: Teardown;
  readonly #provoked: RegExp[];
  readonly #groups = new Map<string, Group>();
  readonly #bound = new Set<string>();
  #container: Container | undefined;
  #device: Device | undefined;

  constructor(role: string, teardown: Teardown, provoked: RegExp[]) {
    this.role = role;
    this.#teardown = teardown;
    this.#provoked = provoked;
  }

  /** Runs `step` after the test, in reverse order of the calls, also after a failure. */
  readonly defer = (step: () => void): void => this.#teardown.defer(step);

  /** Kernel messages that match are this test's own doing. */
  readonly provokes = (...patterns: RegExp[]): void => {
    this.#provoked.push(...patterns);
  };

  /** The function in a role, bound to vfio-pci. @throws Error if the machine has none. */
  readonly bound = (role: string): PciFunction => {
    const pci = functionInRole(role);
    if (!pci) throw new Error(`no device in the role '${role}': declare it in the test's options`);
    // Once a test: what it does to a binding afterwards is its own business.
    const key = pci.group ?? pci.bdf;
    if (!this.#bound.has(key)) bindForTest(pci);
    this.#bound.add(key);
    return pci;
  };

  /** The test's device in sysfs, bound to vfio-pci. */
  get pci(): PciFunction {
    return this.bound(this.role);
  }

  /** An open /dev/vfio/vfio with nothing in it. */
  readonly emptyContainer = (): Container => {
    const container = Container.open();
    this.defer(() => container.close());
    return container;
  };

  /** The open group of a role's device, in no container yet; opened once a test. */
  readonly openGroup = (role: string = this.role): Group => {
    const number = this.bound(role).group;
    if (number === null) throw new Error(`the device in the role '${role}' is in no IOMMU group`);
    let group = this.#groups.get(number);
    if (!group) {
      group = Group.open(number);
      this.#groups.set(number, group);
      const opened = group;
      this.defer(() => opened.close());
    }
    return group;
  };

  /** Opens a group by its number: for devices that have no role, such as virtual functions. */
  readonly openFreshGroup = (number: string): Group => {
    const group = Group.open(number);
    this.defer(() => group.close());
    return group;
  };

  /** A new TYPE1v2 container with these groups in it. */
  readonly containerWith = (...groups: Group[]): Container => {
    const container = this.emptyContainer();
    for (const group of groups) group.setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    return container;
  };

  /** A container of an IOMMU type with the group of the test's device in it. */
  readonly containerOfType = (type: number): Container => {
    const container = this.emptyContainer();
    this.openGroup().setContainer(container);
    container.setIommu(type);
    return container;
  };

  /** A TYPE1v2 container with the group of the test's device in it. */
  get container(): Container {
    return (this.#container ??= this.containerOfType(VFIO_TYPE1v2_IOMMU));
  }

  /** The group of the test's device, in {@link container}. */
  get group(): Group {
    void this.container;
    return this.openGroup();
  }

  /** The test's device, open. */
  get device(): Device {
    return (this.#device ??= this.openDevice(this.group));
  }

  /** Opens a device fd of a group that is in a container. */
  readonly openDevice = (group: Group, name: string = this.pci.bdf): Device => {
    const device = group.getDevice(name);
    this.defer(() => device.close());
    return device;
  };

  /** Opens the device in another role, its group added to {@link container}. */
  readonly openRole = (role: string): OpenDevice => {
    const { container } = this;
    const pci = this.bound(role);
    const isNew = !this.#groups.has(pci.group!);
    const group = this.openGroup(role);
    if (isNew) group.setContainer(container);
    return { pci, group, device: this.openDevice(group, pci.bdf) };
  };

  /** A region mapped into this process; unmapped after the test, so that the device can be closed. */
  readonly map = (region: Region, options?: Parameters<Region['map']>[0]): Mapping => {
    const mapping = region.map(options);
    this.defer(() => mapping.unmap());
    return mapping;
  };

  /** An open /dev/iommu. Needs `CDEV`. */
  readonly iommufd = (): Iommufd => {
    const iommufd = Iommufd.open();
    this.defer(() => iommufd.close());
    return iommufd;
  };

  /** A device opened through its own node, bound to no iommufd yet. Needs `CDEV`. */
  readonly openCdev = (role: string = this.role): CdevDevice => {
    const device = CdevDevice.tryOpen(this.bound(role)).get()!;
    this.defer(() => device.close());
    return device;
  };

  /** Memory for DMA; freed after the test, which is skipped if this user may not pin as much. */
  readonly memory = (options: MemoryOptions): DmaMemory => {
    require(dmaMemory(options.size));
    const memory = DmaMemory.allocate(options);
    this.defer(() => memory.free());
    return memory;
  };

  readonly eventfd = (options?: ConstructorParameters<typeof Eventfd>[0]): Eventfd => {
    const eventfd = new Eventfd(options);
    this.defer(() => eventfd.close());
    return eventfd;
  };

  /** The kernel log from now on, to be drained by the test itself, which is skipped without the right to read it. */
  readonly kernelLog = (): KernelLog => {
    const log = KernelLog.open();
    if (!log) throw new SkipError(['it needs root: /dev/kmsg']);
    this.defer(() => log.close());
    return log;
  };

  /** Another process that executes programs. */
  readonly actor = (options?: ActorOptions): Actor => {
    const actor = Actor.spawn(options);
    this.defer(() => actor.close());
    return actor;
  };
}
