/** The ioctls of a device, and its resets. */
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_IOEVENTFD_32,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_RESET,
  VFIO_PCI_BAR2_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  bench,
  enableDevice,
  fds,
  vfio_device_feature,
  vfio_device_info,
  vfio_device_ioeventfd,
  vfio_irq_info,
  vfio_pci_hot_reset,
  vfio_region_info,
  type BenchOptions,
} from '../../harness/testing/index.ts';

interface Question {
  name: string;
  ioctl: { request: number; toString(): string };
  /** Passed anew each time: the kernel writes into it. */
  argument: Buffer;
}

const QUESTIONS: Question[] = [
  {
    name: 'get-info',
    ioctl: VFIO_DEVICE_GET_INFO,
    argument: vfio_device_info.encode({
      argsz: vfio_device_info.size,
      flags: 0,
      num_regions: 0,
      num_irqs: 0,
      cap_offset: 0,
    }),
  },
  {
    name: 'get-region-info',
    ioctl: VFIO_DEVICE_GET_REGION_INFO,
    argument: vfio_region_info.encode({
      argsz: vfio_region_info.size,
      flags: 0,
      index: VFIO_PCI_CONFIG_REGION_INDEX,
      cap_offset: 0,
      size: 0n,
      offset: 0n,
    }),
  },
  {
    name: 'get-irq-info',
    ioctl: VFIO_DEVICE_GET_IRQ_INFO,
    argument: vfio_irq_info.encode({
      argsz: vfio_irq_info.size,
      flags: 0,
      index: VFIO_PCI_MSI_IRQ_INDEX,
      count: 0,
    }),
  },
];

for (const { name, ioctl, argument } of QUESTIONS) {
  bench(
    `device.ioctl.${name}`,
    String(ioctl),
    { covers: [ioctl], device: 'edu' },
    ({ device: { fd } }, measure) =>
      measure((program, timed) => {
        const fresh = program.data(argument);
        const used = program.data(argument.length);
        program.copy(used, fresh, argument.length);
        timed('', program.syscall('ioctl', fd, ioctl.request, used));
      }),
  );
}

bench(
  'device.ioctl.feature-probe',
  'VFIO_DEVICE_FEATURE that asks whether there is a feature',
  { covers: [VFIO_DEVICE_FEATURE], device: 'edu' },
  ({ device: { fd } }, measure) =>
    measure((program, timed) => {
      const flags =
        VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT;
      const probe = vfio_device_feature.encode({ argsz: vfio_device_feature.size, flags });
      timed('', program.syscall('ioctl', fd, VFIO_DEVICE_FEATURE.request, program.data(probe)));
    }),
);

bench(
  'device.ioctl.get-pci-hot-reset-info',
  'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO with room for every function of a bus',
  { covers: [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO], device: 'nvme' },
  ({ device: { fd } }, measure) =>
    measure((program, timed) => {
      const argument = program.data(4096);
      program.store(32, argument, argument.length);
      timed('', program.syscall('ioctl', fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.request, argument));
    }),
);

bench(
  'device.ioctl.ioeventfd',
  'VFIO_DEVICE_IOEVENTFD: a write assigned to an eventfd, and taken back',
  { covers: [VFIO_DEVICE_IOEVENTFD], device: 'ivshmem', operations: ['assign', 'deassign'] },
  ({ device, eventfd }, measure) => {
    enableDevice(device);
    const { offset } = device.region(VFIO_PCI_BAR2_REGION_INDEX).info;
    const kick = eventfd().fd;
    measure((program, timed) => {
      for (const [name, fd] of [
        ['assign', kick],
        ['deassign', -1],
      ] as const) {
        const argument = vfio_device_ioeventfd.encode({
          argsz: vfio_device_ioeventfd.size,
          flags: VFIO_DEVICE_IOEVENTFD_32,
          offset,
          data: 1n,
          fd,
          reserved: 0,
        });
        timed(
          name,
          program.syscall(
            'ioctl',
            device.fd,
            VFIO_DEVICE_IOEVENTFD.request,
            program.data(argument),
          ),
        );
      }
    });
  },
);

/** A reset waits for its device, a tenth of a second or more: it needs no more rounds than this. */
const SLOW: Pick<BenchOptions, 'mostRounds'> = { mostRounds: 3 };

bench(
  'device.reset',
  'VFIO_DEVICE_RESET of a device with a function level reset',
  { covers: [VFIO_DEVICE_RESET], devices: ['nvme', 'igb', 'e1000e'], ...SLOW },
  ({ device: { fd } }, measure) =>
    measure((program, timed) =>
      timed('', program.syscall('ioctl', fd, VFIO_DEVICE_RESET.request, 0)),
    ),
);

bench(
  'device.hot-reset',
  'VFIO_DEVICE_PCI_HOT_RESET of a device that is alone on its bus',
  { covers: [VFIO_DEVICE_PCI_HOT_RESET], device: 'nvme', ...SLOW },
  ({ device: { fd }, group }, measure) =>
    measure((program, timed) => {
      const owned = fds([group.fd]);
      const header = vfio_pci_hot_reset.encode({
        argsz: vfio_pci_hot_reset.size + owned.length,
        flags: 0,
        count: 1,
      });
      const argument = program.data(Buffer.concat([header, owned]));
      timed('', program.syscall('ioctl', fd, VFIO_DEVICE_PCI_HOT_RESET.request, argument));
    }),
);
