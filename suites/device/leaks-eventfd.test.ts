import {
  Program,
  SLABINFO,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  expect,
  expectNoKernelLeak,
  test,
  vfio_device_feature,
  vfio_irq_set,
} from '../../harness/testing/index.ts';

const ENTRY = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_pm_entry_with_wakeup()';
const EXIT = 'drivers/vfio/pci/vfio_pci_core.c __vfio_pci_runtime_pm_exit()';
const REPLACE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_eventfd_replace_locked()';
const ROUNDS = 300;
const OPTIONS = { device: 'edu', needs: [SLABINFO], timeoutMs: 180_000 };

/** DEVICE_FEATURE as an argument, with room for `length` bytes of data. */
function setFeature(feature: number, length = 0): Buffer {
  const size = vfio_device_feature.size + length;
  const flags = VFIO_DEVICE_FEATURE_SET | feature;
  return Buffer.concat([vfio_device_feature.encode({ argsz: size, flags }), Buffer.alloc(length)]);
}

for (const [name, title, isRefused] of [
  ['left', 'eventfds for wake-ups, given with each entry into the low power state,', false],
  ['refused', 'eventfds for wake-ups that are refused because the state is entered already', true],
] as const) {
  test(
    `device.leak.wakeup-eventfd.${name}`,
    `${title} cost the kernel no memory in the end`,
    {
      ...OPTIONS,
      covers: [VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP')],
      source: [ENTRY, EXIT],
    },
    ({ device }) => {
      if (isRefused) {
        const enter = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY;
        expect(device.tryFeature(enter)).toSucceed(0);
      }
      const program = new Program();
      const feature = (argument: Buffer) => {
        const data = program.data(argument);
        return {
          data,
          call: () => program.syscall('ioctl', device.fd, VFIO_DEVICE_FEATURE.request, data),
        };
      };
      const entry = feature(setFeature(VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, 8));
      const eventfd = program.syscall('eventfd2', 0, 0);
      program.store(32, entry.data.at(vfio_device_feature.size), eventfd);
      const entered = entry.call();
      if (!isRefused) feature(setFeature(VFIO_DEVICE_FEATURE_LOW_POWER_EXIT)).call();
      program.syscall('close', eventfd);
      program.repeat(eventfd, ROUNDS);
      expectNoKernelLeak(ROUNDS, () => program.run());
      expect(program.result(entered)).toBe(isRefused ? -22 : 0);
    },
  );
}

for (const [name, index] of [
  ['err', VFIO_PCI_ERR_IRQ_INDEX],
  ['req', VFIO_PCI_REQ_IRQ_INDEX],
] as const) {
  test(
    `device.leak.${name}-eventfd`,
    `an eventfd of the ${name.toUpperCase()} index that is replaced goes with its last fd`,
    { ...OPTIONS, covers: [VFIO_DEVICE_SET_IRQS], source: REPLACE, device: 'igb' },
    ({ device }) => {
      const program = new Program();
      const header = vfio_irq_set.encode({
        argsz: vfio_irq_set.size + 4,
        flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
        index,
        start: 0,
        count: 1,
      });
      const argument = program.data(Buffer.concat([header, Buffer.alloc(4)]));
      const eventfd = program.syscall('eventfd2', 0, 0);
      program.store(32, argument.at(vfio_irq_set.size), eventfd);
      const set = program.syscall('ioctl', device.fd, VFIO_DEVICE_SET_IRQS.request, argument);
      program.syscall('close', eventfd);
      program.repeat(eventfd, ROUNDS);
      expectNoKernelLeak(ROUNDS, () => program.run());
      expect(program.result(set)).toBe(0);
    },
  );
}
