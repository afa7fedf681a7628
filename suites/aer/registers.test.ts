import {
  AerRegisters,
  Irqs,
  KernelErrors,
  OWN_MACHINE,
  OutsideErrors,
  PCI_ERR_COR_RCVR,
  PCI_ERR_COR_STATUS,
  PCI_ERR_UNCOR_STATUS,
  PCI_ERR_UNC_COMP_ABORT,
  PCI_ERR_UNC_POISON_TLP,
  PCI_STATUS,
  PCI_STATUS_SIG_SYSTEM_ERROR,
  RawConfig,
  Recoveries,
  VFIO_PCI_ERR_IRQ_INDEX,
  ability,
  expect,
  AER_INJECT,
  test,
} from '../../harness/testing/index.ts';

const PERMISSIONS = 'drivers/vfio/pci/vfio_pci_config.c init_pci_ext_cap_err_perm()';
/** These report nothing to the system by themselves: QEMU sets their status bits and sends no message. */
const SILENT = {
  source: PERMISSIONS,
  devices: ['e1000e', 'igb'],
  needs: [OWN_MACHINE, ability('hmp')],
};

test(
  'aer.registers.status',
  'the user sees the errors that the device recorded, and clears each by writing a one',
  SILENT,
  ({ device, role }) => {
    const registers = new AerRegisters(device);
    const both = PCI_ERR_UNC_COMP_ABORT | PCI_ERR_UNC_POISON_TLP;
    registers.write(PCI_ERR_UNCOR_STATUS, 0xffff_ffff);
    registers.write(PCI_ERR_COR_STATUS, 0xffff_ffff);
    const errors = new OutsideErrors(role);
    errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    errors.inject({ uncorrectable: PCI_ERR_UNC_POISON_TLP });
    errors.inject({ correctable: PCI_ERR_COR_RCVR });
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(both);
    expect(registers.read(PCI_ERR_COR_STATUS)).toBe(PCI_ERR_COR_RCVR);
    registers.write(PCI_ERR_UNCOR_STATUS, 0);
    expect(registers.read(PCI_ERR_UNCOR_STATUS), 'zeros clear nothing').toBe(both);
    registers.write(PCI_ERR_UNCOR_STATUS, PCI_ERR_UNC_POISON_TLP);
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(PCI_ERR_UNC_COMP_ABORT);
    registers.write(PCI_ERR_UNCOR_STATUS, 0xffff_ffff);
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(0);
    expect(registers.read(PCI_ERR_COR_STATUS)).toBe(PCI_ERR_COR_RCVR);
    registers.write(PCI_ERR_COR_STATUS, PCI_ERR_COR_RCVR);
    expect(registers.read(PCI_ERR_COR_STATUS)).toBe(0);
  },
);

test(
  'aer.registers.no-message-no-signal',
  'an error that the device records without a message signals nothing',
  SILENT,
  ({ device, eventfd, role }) => {
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    new OutsideErrors(role).inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(signal.quiet()).toBe(0);
    const registers = new AerRegisters(device);
    expect(registers.read(PCI_ERR_UNCOR_STATUS) & PCI_ERR_UNC_COMP_ABORT).not.toBe(0);
    registers.write(PCI_ERR_UNCOR_STATUS, PCI_ERR_UNC_COMP_ABORT);
  },
);

test(
  'aer.registers.next-user',
  'errors that one user left uncleared are not shown to the next',
  { ...SILENT, source: [PERMISSIONS, 'drivers/pci/pci.c pci_restore_state()'] },
  ({ device, group, openDevice, role }) => {
    const errors = new OutsideErrors(role);
    errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    errors.inject({ correctable: PCI_ERR_COR_RCVR });
    const registers = new AerRegisters(device);
    expect(registers.read(PCI_ERR_UNCOR_STATUS) & PCI_ERR_UNC_COMP_ABORT).not.toBe(0);
    expect(registers.read(PCI_ERR_COR_STATUS) & PCI_ERR_COR_RCVR).not.toBe(0);
    device.close();
    const next = new AerRegisters(openDevice(group));
    expect(next.read(PCI_ERR_UNCOR_STATUS)).toBe(0);
    expect(next.read(PCI_ERR_COR_STATUS)).toBe(0);
  },
);

test(
  'aer.registers.reset',
  'VFIO_DEVICE_RESET clears the errors that the device recorded',
  {
    ...SILENT,
    source: [PERMISSIONS, 'drivers/pci/pci.c pci_restore_state()'],
    devices: ['igb'],
  },
  ({ device, role }) => {
    new OutsideErrors(role).inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    const registers = new AerRegisters(device);
    expect(registers.read(PCI_ERR_UNCOR_STATUS) & PCI_ERR_UNC_COMP_ABORT).not.toBe(0);
    device.reset();
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(0);
  },
);

test(
  'aer.registers.handled-by-kernel',
  'when the user has been told, the kernel has taken the status of the error back already',
  {
    source: 'drivers/pci/pcie/aer.c pci_aer_clear_nonfatal_status()',
    device: 'virtio-net',
    needs: [OWN_MACHINE, ability('hmp')],
  },
  (context) => {
    const { device, role } = context;
    const registers = new AerRegisters(device);
    const recoveries = new Recoveries(context);
    new OutsideErrors(role).inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('successful');
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(0);
  },
);

test(
  'aer.registers.system-error',
  'no write clears what STATUS tells of an error, for the user or in the hardware',
  {
    source: 'drivers/vfio/pci/vfio_pci_config.c init_pci_cap_basic_perm()',
    device: 'virtio-net',
    needs: [OWN_MACHINE, ability('hmp')],
  },
  (context) => {
    const { device, pci, role } = context;
    const recoveries = new Recoveries(context);
    new OutsideErrors(role).inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('successful');
    const hardware = new RawConfig(pci);
    context.defer(() => hardware.close());
    const told = hardware.read16(PCI_STATUS);
    expect(told & PCI_STATUS_SIG_SYSTEM_ERROR).not.toBe(0);
    device.config.write16(PCI_STATUS, 0xffff);
    device.config.write8(PCI_STATUS + 1, 0xff);
    expect(device.config.read16(PCI_STATUS)).toBe(told);
    expect(hardware.read16(PCI_STATUS)).toBe(told);
    hardware.write16(PCI_STATUS, PCI_STATUS_SIG_SYSTEM_ERROR);
  },
);

test(
  'aer.registers.not-twice',
  'an error that was recovered from is not reported again with the next one',
  {
    source: 'drivers/pci/pcie/aer.c is_error_source()',
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
    needs: [OWN_MACHINE, AER_INJECT],
  },
  (context) => {
    const { device, pci, openRole, eventfd } = context;
    const other = openRole('igb-multi-1');
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    const recoveries = new Recoveries(context);
    const [own, theirs] = [new KernelErrors(context, pci), new KernelErrors(context, other.pci)];
    own.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('successful');
    theirs.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('successful');
    expect(recoveries.tryNext(50)).toBe(null);
    expect(signal.take()).toBe(2);
  },
);
