import {
  PROT_READ,
  Program,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_GET_GFX_DMABUF,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_QUERY_GFX_PLANE,
  VFIO_DEVICE_SET_IRQS,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_GET_STATUS,
  VFIO_SET_IOMMU,
  expect,
  ioctl,
  sys,
  test,
} from '../../harness/testing/index.ts';

const DISPATCH = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_ioctl()';
const FOPS = 'drivers/vfio/vfio_main.c vfio_device_fops_unl_ioctl()';
/** Ioctls with a structure. */
const WITH_STRUCT = [
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_FEATURE,
];
/** Ioctls that write their structure back, and what makes each succeed. */
const ANSWERS = [
  [VFIO_DEVICE_GET_INFO, 24],
  [VFIO_DEVICE_GET_REGION_INFO, 32],
  [VFIO_DEVICE_GET_IRQ_INFO, 16],
  [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, 12],
  [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, 512],
] as const;

test(
  'device.ioctl.bad-address',
  'an argument that cannot be read gives EFAULT',
  {
    covers: WITH_STRUCT.map((descriptor) => descriptor.fails('EFAULT')),
    source: DISPATCH,
    device: 'igb',
  },
  ({ device }) => {
    for (const descriptor of WITH_STRUCT) {
      for (const address of [0n, 8n, 0xffff_8000_0000_0000n]) {
        expect(ioctl(device.fd, descriptor, address), `${address}`).toFailWith('EFAULT');
      }
    }
    expect(device.info().num_regions).toBe(9);
  },
);

test(
  'device.ioctl.read-only-argument',
  'an answer that cannot be written back gives EFAULT',
  {
    covers: ANSWERS.map(([descriptor]) => descriptor.fails('EFAULT')),
    source: DISPATCH,
    device: 'igb',
  },
  ({ device, memory }) => {
    const page = memory({ size: 4096, kind: '4k' });
    for (const [descriptor, argsz] of ANSWERS) {
      const bytes = Buffer.alloc(512);
      bytes.writeUInt32LE(argsz, 0);
      page.write(0, bytes);
      expect(sys.mprotect(page.address, 4096, PROT_READ)).toBe(0);
      expect(ioctl(device.fd, descriptor, page.address)).toFailWith('EFAULT');
      expect(sys.mprotect(page.address, 4096, PROT_READ | 2)).toBe(0);
      expect(page.read(0, 512).equals(bytes)).toBe(true);
    }
  },
);

test(
  'device.ioctl.half-argument',
  'capabilities that do not fit into mapped memory give EFAULT',
  {
    covers: [
      VFIO_DEVICE_GET_REGION_INFO.fails('EFAULT'),
      VFIO_DEVICE_PCI_HOT_RESET.fails('EFAULT'),
    ],
    source: ['drivers/vfio/vfio_main.c vfio_get_region_info()', DISPATCH],
    device: 'igb',
  },
  ({ device, memory }) => {
    // The structure ends with the page; behind it there is nothing.
    const page = memory({ size: 8192, kind: '4k' });
    expect(sys.munmap(page.address + 4096n, 4096)).toBe(0);
    const info = Buffer.alloc(32);
    info.writeUInt32LE(40, 0);
    info.writeUInt32LE(3, 8);
    page.write(4096 - 32, info);
    expect(ioctl(device.fd, VFIO_DEVICE_GET_REGION_INFO, page.address + 4064n)).toFailWith(
      'EFAULT',
    );
    const reset = Buffer.alloc(12);
    reset.writeUInt32LE(16, 0);
    reset.writeUInt32LE(1, 8);
    page.write(4096 - 12, reset);
    expect(ioctl(device.fd, VFIO_DEVICE_PCI_HOT_RESET, page.address + 4084n)).toFailWith('EFAULT');
  },
);

test(
  'device.ioctl.unknown',
  'an ioctl that a PCI device does not have is ENOTTY',
  {
    covers: [
      VFIO_DEVICE_QUERY_GFX_PLANE.fails('ENOTTY'),
      VFIO_DEVICE_GET_GFX_DMABUF.fails('ENOTTY'),
    ],
    source: [DISPATCH, FOPS],
    devices: ['edu', 'vga'],
  },
  ({ device }) => {
    const buffer = Buffer.alloc(256);
    buffer.writeUInt32LE(256, 0);
    for (const descriptor of [
      VFIO_DEVICE_QUERY_GFX_PLANE,
      VFIO_DEVICE_GET_GFX_DMABUF,
      VFIO_GET_API_VERSION,
      VFIO_SET_IOMMU,
      VFIO_GROUP_GET_STATUS,
    ]) {
      expect(ioctl(device.fd, descriptor, Buffer.from(buffer))).toFailWith('ENOTTY');
    }
    const program = new Program();
    const base = VFIO_DEVICE_GET_INFO.request & ~0xff;
    const numbers = [0, 1, 99, 100, 130, 200, 255];
    const refs = numbers.map((number) =>
      program.syscall('ioctl', device.fd, base | number, program.data(256)),
    );
    const foreign = [0x5401, 0, 0xffff_ffff].map((request) =>
      program.syscall('ioctl', device.fd, request, program.data(256)),
    );
    program.run();
    expect([...refs, ...foreign].map((ref) => program.result(ref))).toEqual(
      [...refs, ...foreign].map(() => -25),
    );
  },
);

test(
  'device.ioctl.attach-without-iommufd',
  'the ioctls of the character device do not exist on a device that was opened through its group',
  { covers: [], source: `${FOPS}: cdev only ioctls` },
  ({ device }) => {
    // VFIO_DEVICE_ATTACH_IOMMUFD_PT and VFIO_DEVICE_DETACH_IOMMUFD_PT
    const base = VFIO_DEVICE_GET_INFO.request & ~0xff;
    for (const number of [119, 120]) {
      const argument = Buffer.alloc(16);
      argument.writeUInt32LE(16, 0);
      const answer = ioctl(
        device.fd,
        { name: `VFIO ioctl ${number}`, request: base | number },
        argument,
      );
      expect(answer).toFailWith('ENOTTY');
    }
  },
);
