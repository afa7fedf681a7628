import {
  NEARLY_RESET_NS,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_RESET,
  enableDevice,
  expect,
  fds,
  loadMeanwhile,
  minorFaults,
  setResetMethods,
  test,
  tryHotReset,
  vfio_pci_hot_reset,
} from '../../../harness/testing/index.ts';

const RESET = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset()';
const HOT_RESET = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_hot_reset()';

test(
  'device.reset.keeps-out',
  'an access to a mapping waits until a reset by VFIO_DEVICE_RESET is over',
  { covers: [VFIO_DEVICE_RESET], source: `${RESET}: memory_lock`, device: 'igb' },
  ({ device, map, defer, pci }) => {
    enableDevice(device);
    defer(setResetMethods(pci, ['flr']));
    const mapping = map(device.region(0), { size: 4096n });
    mapping.load32(0);
    for (let round = 0; round < 2; round++) {
      const { result, longestNs } = loadMeanwhile(mapping.address, (program) =>
        program.syscall('ioctl', device.fd, VFIO_DEVICE_RESET.request, 0),
      );
      expect([0, -11]).toContain(result);
      if (result === 0 && longestNs !== null) expect(longestNs).toBeGreaterThan(NEARLY_RESET_NS);
    }
  },
);

test(
  'device.hot-reset.keeps-out',
  'an access to a mapping of any function waits until a hot reset is over',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET],
    source: `${HOT_RESET}: memory_lock`,
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
  },
  ({ device, group, map, openRole }) => {
    const other = openRole('igb-multi-1');
    const groups = fds([group.fd, other.group.fd]);
    const argument = Buffer.concat([
      vfio_pci_hot_reset.encode({
        argsz: vfio_pci_hot_reset.size + groups.length,
        flags: 0,
        count: 2,
      }),
      groups,
    ]);
    for (const one of [device, other.device]) {
      enableDevice(one);
      const mapping = map(one.region(0), { size: 4096n });
      mapping.load32(0);
      const { result, longestNs } = loadMeanwhile(mapping.address, (program) =>
        program.syscall(
          'ioctl',
          device.fd,
          VFIO_DEVICE_PCI_HOT_RESET.request,
          program.data(argument),
        ),
      );
      expect([0, -11, -16]).toContain(result);
      if (result === 0 && longestNs !== null) expect(longestNs).toBeGreaterThan(NEARLY_RESET_NS);
    }
  },
);

test(
  'device.hot-reset.unmapped',
  'no mapping leads to a function while it is hot reset; the next access brings it back',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET],
    source: `${HOT_RESET}: vfio_pci_zap_bars()`,
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
  },
  ({ device, group, map, openRole }) => {
    const other = openRole('igb-multi-1');
    const mappings = [device, other.device].map((one) => {
      enableDevice(one);
      return map(one.region(0), { size: 4096n });
    });
    const touch = () =>
      mappings.map(({ address }) => minorFaults((program) => program.load(32, address)));
    touch();
    expect(touch()).toEqual([0, 0]);
    expect(tryHotReset(device, [group.fd, other.group.fd])).toSucceed(0);
    expect(touch()).toEqual([1, 1]);
    expect(touch()).toEqual([0, 0]);
  },
);
