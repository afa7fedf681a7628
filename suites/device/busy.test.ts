import {
  BackgroundWrite,
  OWN_MACHINE,
  VFIO_DEVICE_RESET,
  VFIO_GROUP_GET_DEVICE_FD,
  enableDevice,
  expect,
  scratchRegisters,
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
): Answer<T> | null {
  for (let round = 0; round < RESETS; round++) {
    const reset = new BackgroundWrite(writer, `${pci.path}/reset`, '1');
    let refused: Answer<T> | null = null;
    while (!refused && !reset.endsWithin(0)) {
      const answer = attempt();
      if (!answer.ok) refused = answer;
    }
    expect(reset.answer()).toSucceed();
    if (refused) return refused;
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
    const { pci, container, group, openDevice } = context;
    const refused = refusedDuringReset(writer, pci, () => {
      const answer = group.tryGetDevice(pci.bdf);
      answer.value?.close();
      return answer;
    });
    expect(refused).toFailWith('EAGAIN');
    expect(group.tryUnsetContainer()).toSucceed(0);
    group.setContainer(container);
    container.setIommu(3);
    const device = openDevice(group);
    enableDevice(device);
    device.region(0).write32(MTA, 0x55);
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
