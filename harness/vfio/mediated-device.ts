import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { tryWriteAttribute } from '../pci/sysfs-write.ts';
import type { Answer } from '../kernel/answer.ts';

/**
 * A type of mediated device that a parent offers (Documentation/driver-api/
 * vfio-mediated-device.rst). Every read is fresh.
 */
export class MediatedType {
  readonly path: string;

  /** @param parent as in /sys/class/mdev_bus: `mdpy`. @param name of the type: `mdpy-vga`. */
  constructor(parent: string, name: string) {
    this.path = `/sys/class/mdev_bus/${parent}/mdev_supported_types/${name}`;
  }

  get exists(): boolean {
    return existsSync(this.path);
  }

  /** Text of a sysfs attribute, trimmed. */
  attribute(name: string): string {
    return readFileSync(`${this.path}/${name}`, 'utf8').trim();
  }

  /** How many more devices of the type can be made. */
  get availableInstances(): number {
    return Number(this.attribute('available_instances'));
  }

  /** UUIDs of the devices of this type. */
  get devices(): string[] {
    return readdirSync(`${this.path}/devices`);
  }

  /** Writes the UUID of a new device to `create`. */
  tryCreate(uuid: string): Answer {
    return tryWriteAttribute(`${this.path}/create`, uuid);
  }

  create(): MediatedDevice {
    const uuid = randomUUID();
    this.tryCreate(uuid).must();
    return new MediatedDevice(uuid);
  }
}

/** A mediated device as sysfs shows it: a group of its own, behind an IOMMU of software. */
export class MediatedDevice {
  readonly uuid: string;

  constructor(uuid: string) {
    this.uuid = uuid;
  }

  /** The name by which VFIO_GROUP_GET_DEVICE_FD knows it. */
  get name(): string {
    return this.uuid;
  }

  get path(): string {
    return `/sys/bus/mdev/devices/${this.uuid}`;
  }

  get exists(): boolean {
    return existsSync(this.path);
  }

  /** Number of its IOMMU group. @throws ENOENT if there is no such device. */
  get group(): string {
    return basename(readlinkSync(`${this.path}/iommu_group`));
  }

  /** Writes to `remove`: blocks as long as the device is open. */
  tryRemove(text = '1'): Answer {
    return tryWriteAttribute(`${this.path}/remove`, text);
  }
}
