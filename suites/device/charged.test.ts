import {
  CHARGED_OBJECTS,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_GROUP_GET_DEVICE_FD,
  enableDevice,
  expect,
  expectCharged,
  test,
  tryIoeventfd,
} from '../../harness/testing/index.ts';

const OPTIONS = { needs: [CHARGED_OBJECTS] };
const COUNT = 400;

test(
  'device.charged.file',
  'each file of a device is charged to whoever gets it',
  {
    ...OPTIONS,
    covers: [VFIO_GROUP_GET_DEVICE_FD],
    source: 'drivers/vfio/vfio_main.c vfio_allocate_device_file()',
    since: '6.6',
    device: 'edu',
  },
  ({ group, pci, openDevice }) =>
    expectCharged({ count: COUNT }, () => {
      for (let opened = 0; opened < COUNT; opened++) openDevice(group, pci.bdf);
    }),
);

test(
  'device.charged.ioeventfd',
  'an assignment of a write to an eventfd is charged to whoever makes it, and so is the wait for it',
  {
    ...OPTIONS,
    covers: [VFIO_DEVICE_IOEVENTFD],
    source: [
      'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_ioeventfd()',
      'drivers/vfio/virqfd.c vfio_virqfd_enable()',
    ],
    since: '6.3',
    device: 'ivshmem',
  },
  ({ device, eventfd }) => {
    enableDevice(device);
    const region = device.region(2);
    const { fd } = eventfd();
    expectCharged({ count: COUNT, kinds: 2 }, () => {
      for (let index = 0; index < COUNT; index++) {
        const assignment = { width: 4, offset: 0, data: BigInt(index), fd };
        expect(tryIoeventfd(device, region, assignment)).toSucceed(0);
      }
    });
  },
);
