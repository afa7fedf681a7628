import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import {
  BackgroundWrite,
  MDPY,
  MTTY,
  MediatedDevice,
  MediatedType,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_TYPE1v2_IOMMU,
  createMediated,
  expect,
  hasGroupNode,
  mediated,
  openMediated,
  test,
  vfioDevName,
} from '../../harness/testing/index.ts';

const CREATE = 'drivers/vfio/mdev/mdev_core.c mdev_device_create()';
const REMOVE = 'drivers/vfio/mdev/mdev_core.c mdev_device_remove()';
const RELEASE = 'drivers/vfio/mdev/mdev_core.c mdev_device_release()';
const CREATE_STORE = 'drivers/vfio/mdev/mdev_sysfs.c create_store()';
const LINKS = 'drivers/vfio/mdev/mdev_sysfs.c mdev_create_sysfs_files()';
const EMULATED = 'drivers/vfio/vfio_main.c vfio_register_emulated_iommu_dev()';
const needs = [mediated(MDPY)];
/** Of the sample frame buffer there are at most four, of all sizes together. */
const MOST = 4;

test(
  'group.mediated.create',
  'a mediated device has a group of its own, its links in sysfs, and is gone when it is removed',
  { source: [CREATE, LINKS, REMOVE, EMULATED], needs },
  (context) => {
    const device = createMediated(context, MDPY);
    const { group, path } = device;
    expect(readdirSync(`/sys/kernel/iommu_groups/${group}/devices`)).toEqual([device.uuid]);
    expect(hasGroupNode(group)).toBe(true);
    expect(vfioDevName(device)).not.toBe(null);
    expect(MDPY.devices).toEqual([device.uuid]);
    expect(realpathSync(`${MDPY.path}/devices/${device.uuid}`)).toBe(realpathSync(path));
    expect(realpathSync(`${path}/mdev_type`)).toBe(realpathSync(MDPY.path));
    expect(device.tryRemove()).toSucceed();
    expect(device.exists).toBe(false);
    expect(hasGroupNode(group)).toBe(false);
    expect(existsSync(`/sys/kernel/iommu_groups/${group}`)).toBe(false);
    expect(MDPY.devices).toEqual([]);
  },
);

test(
  'group.mediated.type',
  'a type of mediated device says what it is: name, description, interface and free instances',
  { source: 'drivers/vfio/mdev/mdev_sysfs.c mdev_types_core_is_visible()', needs },
  () => {
    expect(MDPY.attribute('device_api')).toBe('vfio-pci');
    expect(MDPY.attribute('name')).not.toBe('');
    expect(MDPY.attribute('description')).toMatch(/640x480/);
    expect(MDPY.availableInstances).toBe(MOST);
    expect(statSync(`${MDPY.path}/create`).mode & 0o777).toBe(0o200);
    // The serial port has nothing to describe.
    if (MTTY.exists) expect(existsSync(`${MTTY.path}/description`)).toBe(false);
  },
);

test(
  'group.mediated.uuid-in-use',
  'a UUID stands for one mediated device, of whatever type, and is free again when that is removed',
  { source: CREATE, needs },
  (context) => {
    const device = createMediated(context, MDPY);
    expect(MDPY.tryCreate(device.uuid)).toFailWith('EEXIST');
    expect(new MediatedType('mdpy', 'mdpy-xga').tryCreate(device.uuid)).toFailWith('EEXIST');
    // The same number in other letters.
    expect(MDPY.tryCreate(device.uuid.toUpperCase())).toFailWith('EEXIST');
    expect(MDPY.availableInstances).toBe(MOST - 1);
    expect(MDPY.devices).toEqual([device.uuid]);
    device.tryRemove().must();
    expect(MDPY.tryCreate(device.uuid)).toSucceed();
  },
);

test(
  'group.mediated.bad-uuid',
  'what is no UUID makes no device',
  { source: CREATE_STORE, needs },
  () => {
    const uuid = randomUUID();
    for (const text of [
      'x',
      uuid.slice(0, -1),
      `${uuid}00`,
      `${uuid}\n\n`,
      uuid.replaceAll('-', '0'),
      `g${uuid.slice(1)}`,
      `${uuid.slice(0, -1)}z`,
    ]) {
      expect(MDPY.tryCreate(text), JSON.stringify(text)).toFailWith('EINVAL');
    }
    expect(MDPY.devices).toEqual([]);
    expect(MDPY.availableInstances).toBe(MOST);
  },
);

test(
  'group.mediated.newline',
  'a UUID may end in a newline',
  { source: CREATE_STORE, needs },
  ({ defer }) => {
    const device = new MediatedDevice(randomUUID());
    defer(() => device.tryRemove().must());
    expect(MDPY.tryCreate(`${device.uuid}\n`)).toSucceed(device.uuid.length + 1);
    expect(device.exists).toBe(true);
  },
);

test(
  'group.mediated.instances',
  'no more mediated devices are made than the parent has, and each that is removed makes room for one',
  { source: [CREATE, RELEASE], needs },
  (context) => {
    const other = new MediatedType('mdpy', 'mdpy-xga');
    const devices = Array.from({ length: MOST }, (_, index) => {
      expect(MDPY.availableInstances).toBe(MOST - index);
      return createMediated(context, index % 2 ? other : MDPY);
    });
    expect(MDPY.availableInstances).toBe(0);
    const refused = randomUUID();
    for (let round = 0; round < 2; round++) {
      expect(MDPY.tryCreate(refused)).toFailWith('EUSERS');
      expect(other.tryCreate(refused)).toFailWith('EUSERS');
    }
    devices[1]!.tryRemove().must();
    expect(other.availableInstances).toBe(1);
    const last = createMediated(context, MDPY);
    expect(MDPY.tryCreate(refused)).toFailWith('EUSERS');
    expect(MDPY.devices.sort()).toEqual([devices[0]!, devices[2]!, last].map((d) => d.uuid).sort());
  },
);

test(
  'group.mediated.driver-refuses',
  'a device that its driver refuses to make leaves no trace, and its UUID is free',
  { source: CREATE, needs: [mediated(MTTY)] },
  (context) => {
    const devices = Array.from({ length: MTTY.availableInstances }, () =>
      createMediated(context, MTTY),
    );
    const uuid = randomUUID();
    for (let round = 0; round < 3; round++) expect(MTTY.tryCreate(uuid)).toFailWith('ENOSPC');
    expect(new MediatedDevice(uuid).exists).toBe(false);
    expect(MTTY.devices).toHaveLength(devices.length);
    devices[0]!.tryRemove().must();
    expect(MTTY.tryCreate(uuid)).toSucceed();
    new MediatedDevice(uuid).tryRemove().must();
  },
);

test(
  'group.mediated.remove-text',
  'only a number that is not 0 removes a device',
  { source: 'drivers/vfio/mdev/mdev_sysfs.c remove_store()', needs },
  (context) => {
    const device = createMediated(context, MDPY);
    expect(device.tryRemove('0')).toSucceed(1);
    for (const text of ['x', '1x']) {
      expect(device.tryRemove(text), JSON.stringify(text)).toFailWith('EINVAL');
    }
    expect(device.exists).toBe(true);
    expect(MDPY.devices).toEqual([device.uuid]);
    expect(device.tryRemove('2\n')).toSucceed(2);
    expect(device.exists).toBe(false);
  },
);

test(
  'group.mediated.remove-open',
  'a mediated device that is open is removed when it is closed, and works until then',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD],
    source: [REMOVE, 'drivers/vfio/vfio_main.c vfio_unregister_group_dev()'],
    needs,
  },
  (context) => {
    const writer = context.actor();
    const device = openMediated(context, MDPY);
    const { path, uuid } = new MediatedDevice(device.name);
    const removal = new BackgroundWrite(writer, `${path}/remove`, '1');
    expect(removal.blocks()).toBe(true);
    expect(device.info().num_regions).toBeGreaterThan(0);
    // It is being removed once.
    expect(new MediatedDevice(uuid).tryRemove().ok).toBe(false);
    expect(MDPY.tryCreate(uuid)).toFailWith('EEXIST');
    device.close();
    expect(removal.answer()).toSucceed(1);
    expect(existsSync(path)).toBe(false);
    expect(MDPY.availableInstances).toBe(MOST);
  },
);

test(
  'group.mediated.open',
  'the group of a mediated device is used as any other: container, IOMMU, then the device by its UUID',
  {
    covers: [
      VFIO_GROUP_GET_STATUS,
      VFIO_GROUP_GET_DEVICE_FD,
      VFIO_GROUP_GET_DEVICE_FD.fails('EINVAL'),
      VFIO_GROUP_GET_DEVICE_FD.fails('ENODEV'),
    ],
    source: ['drivers/vfio/group.c vfio_group_ioctl_get_device_fd()', EMULATED],
    needs,
  },
  (context) => {
    const device = createMediated(context, MDPY);
    const group = context.openFreshGroup(device.group);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    expect(group.tryGetDevice(device.uuid)).toFailWith('EINVAL');
    const container = context.emptyContainer();
    group.setContainer(container);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
    expect(group.tryGetDevice(device.uuid)).toFailWith('EINVAL');
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(group.tryGetDevice(randomUUID())).toFailWith('ENODEV');
    const opened = context.openDevice(group, device.uuid);
    expect(opened.config.read16(0)).toBe(0x1b36);
    expect(group.tryUnsetContainer()).toFailWith('EBUSY');
    opened.close();
    expect(group.tryUnsetContainer()).toSucceed(0);
  },
);

test(
  'group.mediated.memory',
  'the memory of a mediated device is read, written and mapped as that of any other',
  { source: 'drivers/vfio/vfio_main.c vfio_device_fops_mmap()', needs },
  (context) => {
    const region = openMediated(context, MDPY).region(0);
    const mapping = context.map(region);
    mapping.store32(0, 0x12345678);
    expect(region.read32(0)).toBe(0x12345678);
    region.write32(0, 0xcafe);
    expect(mapping.load32(0)).toBe(0xcafe);
  },
);
