import {
  ERRNO,
  FAILSLAB,
  O_WRONLY,
  OWN_MACHINE,
  allowVirtualFunctions,
  armAllocationFailures,
  bindAnew,
  eventually,
  expect,
  failNthAllocation,
  sys,
  test,
  trySetVfs,
  virtualFunctions,
} from '../../../harness/testing/index.ts';

/** The first allocation is that of sysfs; each refusal costs a second, in which the kernel waits for the hardware. */
const ALLOCATIONS = [2, 3];

test(
  'group.sriov.no-memory',
  'a PF that got no VFs for want of memory sleeps again, and gets them when there is memory',
  {
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_sriov_configure()',
    device: 'igb',
    needs: [OWN_MACHINE, FAILSLAB],
  },
  (context) => {
    const { defer } = context;
    const pci = allowVirtualFunctions(context);
    bindAnew(pci, 'vfio-pci');
    const asleep = () => pci.attribute('power_state') === 'D3hot';
    const fd = sys.open(`${pci.path}/sriov_numvfs`, O_WRONLY);
    defer(() => sys.close(fd));
    defer(armAllocationFailures());
    let refused = 0;
    for (const nth of ALLOCATIONS) {
      const { result } = failNthAllocation(nth, (program) =>
        program.syscall('pwrite', fd, program.data('1'), 1, 0),
      );
      if (result === -ERRNO.ENOMEM) refused++;
      else expect(trySetVfs(pci, 0)).toSucceed();
      expect(virtualFunctions(pci)).toEqual([]);
      expect(eventually(asleep)).toBe(true);
    }
    expect(refused).toBeGreaterThan(0);
    expect(trySetVfs(pci, 1)).toSucceed();
    expect(virtualFunctions(pci)).toHaveLength(1);
  },
);
