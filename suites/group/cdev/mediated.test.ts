import {
  CDEV,
  CdevDevice,
  MDPY,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  createMediated,
  expect,
  lockedMemory,
  mediated,
  test,
  type TestContext,
} from '../../../harness/testing/index.ts';

const BIND = 'drivers/vfio/iommufd.c vfio_iommufd_emulated_bind()';
const UNBIND = 'drivers/vfio/iommufd.c vfio_iommufd_emulated_unbind()';
const ATTACH = 'drivers/vfio/iommufd.c vfio_iommufd_emulated_attach_ioas()';
const DETACH = 'drivers/vfio/iommufd.c vfio_iommufd_emulated_detach_ioas()';
const needs = [mediated(MDPY), CDEV];

/** A mediated device, by default a new one, opened through its own node. */
function openMediatedCdev(
  context: TestContext,
  target = createMediated(context, MDPY),
): CdevDevice {
  const device = CdevDevice.tryOpen(target).get()!;
  context.defer(() => device.close());
  return device;
}

test(
  'group.mediated-cdev.bind',
  'a mediated device works once it is bound to an iommufd, which keeps its id until it is closed',
  { covers: [VFIO_DEVICE_BIND_IOMMUFD], source: [BIND, UNBIND], needs },
  (context) => {
    const device = openMediatedCdev(context);
    const io = context.iommufd();
    expect(device.tryGetInfo()).toFailWith('EINVAL');
    const id = device.bind(io);
    expect(id).toBeGreaterThan(0);
    expect(device.info().num_regions).toBeGreaterThan(0);
    expect(device.tryBind({ iommufd: io })).toFailWith('EINVAL');
    // Only who bound it lets it go.
    expect(io.tryDestroy(id)).toFailWith('EBUSY');
    device.close();
    expect(io.tryDestroy(id)).toFailWith('ENOENT');
  },
);

test(
  'group.mediated-cdev.attach',
  'a mediated device is attached to an address space, moved to another and detached, as often as one likes',
  {
    covers: [VFIO_DEVICE_ATTACH_IOMMUFD_PT, VFIO_DEVICE_DETACH_IOMMUFD_PT],
    source: [ATTACH, DETACH],
    needs,
  },
  (context) => {
    const device = openMediatedCdev(context);
    const io = context.iommufd();
    device.bind(io);
    const [one, two] = [io.allocIoas(), io.allocIoas()];
    for (let round = 0; round < 3; round++) {
      const answer = device.tryAttach(one);
      expect(answer).toSucceed(0);
      expect(answer.value).toBe(one);
      expect(io.tryDestroy(one)).toFailWith('EBUSY');
      expect(device.tryAttach(two)).toSucceed(0);
      expect(io.tryDestroy(two)).toFailWith('EBUSY');
      expect(device.tryDetach()).toSucceed(0);
    }
    expect(device.tryDetach()).toSucceed(0);
    expect(io.tryDestroy(one)).toSucceed(0);
    expect(io.tryDestroy(two)).toSucceed(0);
  },
);

test(
  'group.mediated-cdev.attach-invalid',
  'a mediated device is attached to address spaces only, and stays where it was when it is not',
  {
    covers: [VFIO_DEVICE_ATTACH_IOMMUFD_PT.fails('ENOENT')],
    source: [ATTACH, 'drivers/iommu/iommufd/main.c iommufd_get_object()'],
    needs,
  },
  (context) => {
    const device = openMediatedCdev(context);
    const io = context.iommufd();
    const id = device.bind(io);
    const ioas = io.allocIoas();
    for (let round = 0; round < 2; round++) {
      expect(device.tryAttach(0xffffffff)).toFailWith('ENOENT');
      // The device itself is no address space.
      expect(device.tryAttach(id)).toFailWith('ENOENT');
      if (round === 0) expect(device.tryAttach(ioas)).toSucceed(0);
      else expect(io.tryDestroy(ioas)).toFailWith('EBUSY');
    }
  },
);

test(
  'group.mediated-cdev.close',
  'closing a mediated device frees its address space, which unmaps as before',
  { covers: [VFIO_DEVICE_BIND_IOMMUFD], source: UNBIND, needs },
  (context) => {
    const ram = context.memory({ size: 4096, kind: '4k' });
    const locked = lockedMemory();
    const io = context.iommufd();
    const ioas = io.allocIoas();
    const target = createMediated(context, MDPY);
    for (let round = 0; round < 2; round++) {
      const device = openMediatedCdev(context, target);
      device.bind(io);
      expect(device.tryAttach(ioas)).toSucceed(0);
      const map = { iova: 0x100000n, vaddr: ram.address, size: 4096n };
      expect(io.tryMap(ioas, map)).toSucceed(0);
      // Nobody has asked for the pages.
      expect(lockedMemory()).toEqual(locked);
      device.close();
      expect(io.tryUnmap(ioas, map.iova, map.size).get()).toBe(4096n);
    }
    expect(io.tryDestroy(ioas)).toSucceed(0);
  },
);
