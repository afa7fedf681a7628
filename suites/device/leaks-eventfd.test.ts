import {
  Program,
  SLABINFO,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
  expect,
  expectNoKernelLeak,
  test,
  vfio_device_feature,
  type Ref,
} from '../../harness/testing/index.ts';

const ENTRY = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_pm_entry_with_wakeup()';
const EXIT = 'drivers/vfio/pci/vfio_pci_core.c __vfio_pci_runtime_pm_exit()';
const ROUNDS = 1000;
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
      const exit = feature(setFeature(VFIO_DEVICE_FEATURE_LOW_POWER_EXIT));
      const entries = Array.from({ length: ROUNDS }, () => {
        const eventfd = program.syscall('eventfd2', 0, 0);
        program.store(32, entry.data.at(vfio_device_feature.size), eventfd);
        const entered = entry.call();
        const left = isRefused ? [] : [exit.call()];
        program.syscall('close', eventfd);
        return { entered, left };
      });
      expectNoKernelLeak(ROUNDS, () => program.run());
      const results = (refs: Ref[]) => [...new Set(refs.map((ref) => program.result(ref)))];
      expect(results(entries.map(({ entered }) => entered))).toEqual([isRefused ? -22 : 0]);
      expect(results(entries.flatMap(({ left }) => left))).toEqual(isRefused ? [] : [0]);
    },
  );
}
