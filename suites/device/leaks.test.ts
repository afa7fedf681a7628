import {
  Program,
  SLABINFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_GROUP_GET_DEVICE_FD,
  enableDevice,
  expect,
  expectNoKernelLeak,
  test,
  vfio_device_ioeventfd,
} from '../../harness/testing/index.ts';

const ROUNDS = 1000;
const OPTIONS = { needs: [SLABINFO], timeoutMs: 180_000 };

for (const [name, title, fdOf] of [
  ['assigned', 'an assignment made and taken back', (fd: number) => [fd, -1]],
  [
    'refused',
    'an assignment refused because its fd is no eventfd',
    (_: number, device: number) => [device],
  ],
] as const) {
  test(
    `device.leak.ioeventfd.${name}`,
    `${title}, again and again, costs the kernel no memory in the end`,
    {
      ...OPTIONS,
      covers: [VFIO_DEVICE_IOEVENTFD],
      source: 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_ioeventfd()',
      device: 'ivshmem',
    },
    ({ device, eventfd }) => {
      enableDevice(device);
      const { offset } = device.region(2).info;
      const given = fdOf(eventfd().fd, device.fd);
      const program = new Program({ ops: ROUNDS * given.length });
      const calls = given.map((fd) =>
        program.data(
          vfio_device_ioeventfd.encode({
            argsz: vfio_device_ioeventfd.size,
            flags: 4,
            offset,
            data: 0n,
            fd,
            reserved: 0,
          }),
        ),
      );
      const refs = Array.from({ length: ROUNDS }, () =>
        calls.map((call) =>
          program.syscall('ioctl', device.fd, VFIO_DEVICE_IOEVENTFD.request, call),
        ),
      ).flat();
      expectNoKernelLeak(ROUNDS, () => program.run());
      const wanted = name === 'assigned' ? 0 : -22;
      expect(refs.filter((ref) => program.result(ref) !== wanted)).toEqual([]);
    },
  );
}

test(
  'device.leak.open',
  'a device opened and closed again and again costs the kernel no memory in the end',
  {
    ...OPTIONS,
    covers: [VFIO_GROUP_GET_DEVICE_FD],
    source: [
      'drivers/vfio/pci/vfio_pci_config.c vfio_config_init(), vfio_config_free()',
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_enable(), vfio_pci_core_disable()',
    ],
    device: 'xhci-msi',
  },
  ({ group, pci }) => {
    const OPENS = 150;
    const program = new Program();
    const name = program.data(pci.bdf);
    const open = program.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, name);
    program.syscall('close', open);
    const loop = program.repeat(open, OPENS);
    expectNoKernelLeak(OPENS, () => program.run());
    expect(program.count(loop)).toBe(OPENS);
  },
);
