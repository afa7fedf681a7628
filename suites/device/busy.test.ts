import {
  BackgroundWrite,
  OWN_MACHINE,
  PCI_BASE_ADDRESS_0,
  RawConfig,
  VFIO_DEVICE_RESET,
  VFIO_GROUP_GET_DEVICE_FD,
  enableDevice,
  expect,
  scratchRegisters,
  sys,
  test,
  type Actor,
  type Answer,
  type PciFunction,
} from '../../harness/testing/index.ts';

const NEEDS = { device: 'igb', needs: [OWN_MACHINE] };
/** How many resets by somebody else to try: each holds the lock of the function for more than 100 ms. */
const RESETS = 20;
const MTA = scratchRegisters('igb').offset;

/** What `attempt` is answered while somebody else resets the function through sysfs; null if it never fell into a reset. */
function refusedDuringReset<T>(
  writer: Actor,
  pci: PciFunction,
  attempt: () => Answer<T>,
  undo: (value: T | undefined) => void = () => undefined,
): Answer<T> | null {
  for (let round = 0; round < RESETS; round++) {
    const reset = new BackgroundWrite(writer, `${pci.path}/reset`, '1');
    // An open that goes before a reset saves what is there in the middle of it (docs/findings.md).
    sys.poll([], 20 + 5 * round);
    const answer = attempt();
    expect(reset.answer()).toSucceed();
    if (!answer.ok) return answer;
    undo(answer.value);
  }
  return null;
}

test(
  'device.busy.open',
  'a device that somebody else is resetting is not opened but refused with EAGAIN, and nothing stays held',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EAGAIN')],
    source: [
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_enable(): pci_try_reset_function()',
      'drivers/vfio/vfio_main.c vfio_df_device_first_open()',
    ],
    ...NEEDS,
  },
  (context) => {
    const writer = context.actor();
    const { pci, container, defer, group, openDevice } = context;
    const hardware = new RawConfig(pci);
    const bars = hardware.read(PCI_BASE_ADDRESS_0, 24);
    defer(() => hardware.close());
    defer(() => hardware.write(PCI_BASE_ADDRESS_0, bars));
    const open = () => group.tryGetDevice(pci.bdf);
    const refused = refusedDuringReset(writer, pci, open, (opened) => opened?.close());
    expect(refused).toFailWith('EAGAIN');
    expect(group.tryUnsetContainer()).toSucceed(0);
    group.setContainer(container);
    container.setIommu(3);
    const device = openDevice(group);
    enableDevice(device);
    device.region(0).write32(MTA, 0x55);
    expect(device.region(0).read32(MTA)).toBe(0x55);
    device.close();
    const next = openDevice(group);
    enableDevice(next);
    // It was opened as for the first time: reset.
    expect(next.region(0).read32(MTA)).toBe(0);
  },
);

test(
  'device.busy.reset',
  'a reset while somebody else resets the device is refused with EAGAIN and says so',
  {
    covers: [VFIO_DEVICE_RESET.fails('EAGAIN')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset(): pci_try_reset_function()',
    ...NEEDS,
  },
  (context) => {
    const writer = context.actor();
    const { pci, device } = context;
    expect(refusedDuringReset(writer, pci, () => device.tryReset())).toFailWith('EAGAIN');
    expect(device.tryReset()).toSucceed(0);
  },
);
