import {
  AerRegisters,
  Irqs,
  KernelErrors,
  OWN_MACHINE,
  OutsideErrors,
  PCI_ERR_COR_ADV_NFAT,
  PCI_ERR_COR_BAD_TLP,
  PCI_ERR_COR_MASK,
  PCI_ERR_COR_RCVR,
  PCI_ERR_COR_STATUS,
  PCI_ERR_UNCOR_MASK,
  PCI_ERR_UNCOR_SEVER,
  PCI_ERR_UNCOR_STATUS,
  PCI_ERR_UNC_COMP_ABORT,
  PCI_ERR_UNC_COMP_TIME,
  PCI_ERR_UNC_MALF_TLP,
  PCI_ERR_UNC_POISON_TLP,
  Recoveries,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_ERR_IRQ_INDEX,
  ability,
  eventually,
  expect,
  AER_INJECT,
  replug,
  test,
  type TestContext,
} from '../../harness/testing/index.ts';

const COMMON = {
  covers: [VFIO_DEVICE_SET_IRQS],
  source: [
    'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_aer_err_detected()',
    'Documentation/PCI/pcieaer-howto.rst',
  ],
};
/** The kernel recovers from them as often as one likes, on a real machine too. */
const BY_KERNEL = { ...COMMON, risks: ['errors'], needs: [AER_INJECT] } as const;
const BY_QEMU = { ...COMMON, device: 'virtio-net', needs: [OWN_MACHINE, ability('hmp')] };
const ENDPOINTS = ['virtio-net', 'e1000e', 'igb'];

/** The open device with an eventfd on its errors. */
function listen(context: TestContext) {
  const { device, eventfd } = context;
  const signal = eventfd();
  new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
  return {
    device,
    signal,
    registers: new AerRegisters(device),
    recoveries: new Recoveries(context),
  };
}

/** Every kind is signalled once, by the end of its recovery, and its status is taken back. */
function eachNonFatal(context: TestContext, errors: KernelErrors | OutsideErrors): void {
  const { signal, registers, recoveries } = listen(context);
  const kinds = registers.kinds('non-fatal');
  expect(kinds).toContain(PCI_ERR_UNC_POISON_TLP);
  for (const kind of kinds) {
    const name = `0x${kind.toString(16)}`;
    errors.inject({ uncorrectable: kind });
    expect(recoveries.next().outcome, name).toBe('successful');
    expect(signal.take(), name).toBe(1);
    expect(registers.read(PCI_ERR_UNCOR_STATUS), name).toBe(0);
  }
}

test(
  'aer.non-fatal.each-kind',
  'each kind of non-fatal error signals the error eventfd once, and its status is cleared',
  { ...BY_KERNEL, devices: ENDPOINTS },
  (context) => eachNonFatal(context, new KernelErrors(context, context.pci)),
);

test(
  'aer.non-fatal.each-kind-by-hardware',
  'each kind of non-fatal error that the device itself reports signals the error eventfd once',
  BY_QEMU,
  (context) => eachNonFatal(context, new OutsideErrors(context.role)),
);

function eachCorrectable(context: TestContext, errors: KernelErrors | OutsideErrors): void {
  const { signal, registers, recoveries } = listen(context);
  const kinds = registers.correctableKinds();
  expect(kinds).toContain(PCI_ERR_COR_RCVR);
  for (const kind of kinds) {
    errors.inject({ correctable: kind });
    // The port service takes the status back when it has seen the error.
    expect(eventually(() => registers.read(PCI_ERR_COR_STATUS) === 0)).toBe(true);
    expect(signal.take(), `0x${kind.toString(16)}`).toBe(0);
  }
  errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
  expect(recoveries.next().outcome).toBe('successful');
  expect(signal.take(), 'only the uncorrectable error').toBe(1);
}

test(
  'aer.correctable.each-kind',
  'no kind of correctable error reaches the user, and its status is cleared',
  { ...BY_KERNEL, devices: ENDPOINTS },
  (context) => eachCorrectable(context, new KernelErrors(context, context.pci)),
);

test(
  'aer.correctable.each-kind-by-hardware',
  'no kind of correctable error that the device itself reports reaches the user',
  BY_QEMU,
  (context) => eachCorrectable(context, new OutsideErrors(context.role)),
);

test(
  'aer.fatal.each-kind',
  'each kind of fatal error signals the error eventfd once, link reset or not',
  { ...BY_KERNEL, needs: [OWN_MACHINE, ...BY_KERNEL.needs], device: 'igb' },
  (context) => {
    context.defer(() => replug('igb'));
    const { signal, registers, recoveries } = listen(context);
    const errors = new KernelErrors(context, context.pci);
    const kinds = registers.kinds('fatal');
    expect(kinds).toContain(PCI_ERR_UNC_MALF_TLP);
    for (const kind of kinds) {
      const name = `0x${kind.toString(16)}`;
      errors.inject({ uncorrectable: kind });
      expect(recoveries.next().outcome, name).toBe('successful');
      expect(signal.take(), name).toBe(1);
    }
  },
);

test(
  'aer.fatal.by-hardware',
  'a fatal error that the device itself reports signals the error eventfd once',
  BY_QEMU,
  (context) => {
    context.defer(() => replug(context.role));
    const { signal, recoveries } = listen(context);
    new OutsideErrors(context.role).inject({ uncorrectable: PCI_ERR_UNC_MALF_TLP });
    expect(recoveries.next().outcome).toBe('successful');
    expect(signal.take()).toBe(1);
  },
);

test(
  'aer.several-kinds-at-once',
  'several non-fatal errors in one message are one signal',
  { ...BY_KERNEL, devices: ENDPOINTS },
  (context) => {
    const { signal, registers, recoveries } = listen(context);
    new KernelErrors(context, context.pci).inject({
      uncorrectable: PCI_ERR_UNC_POISON_TLP | PCI_ERR_UNC_COMP_ABORT | PCI_ERR_UNC_COMP_TIME,
      correctable: PCI_ERR_COR_BAD_TLP,
    });
    expect(recoveries.next().outcome).toBe('successful');
    expect(signal.take()).toBe(1);
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(0);
    expect(registers.read(PCI_ERR_COR_STATUS)).toBe(0);
  },
);

test(
  'aer.mask.uncorrectable',
  'an error that the user masks is not reported, and is reported again after unmasking',
  BY_QEMU,
  (context) => {
    const { device, signal, registers, recoveries } = listen(context);
    const errors = new OutsideErrors(context.role);
    const before = registers.read(PCI_ERR_UNCOR_MASK);
    registers.write(PCI_ERR_UNCOR_MASK, (before | PCI_ERR_UNC_COMP_ABORT) >>> 0);
    expect(registers.read(PCI_ERR_UNCOR_MASK)).toBe((before | PCI_ERR_UNC_COMP_ABORT) >>> 0);
    errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    errors.inject({ uncorrectable: PCI_ERR_UNC_POISON_TLP });
    expect(recoveries.next().outcome).toBe('successful');
    expect(signal.take(), 'the other kind alone').toBe(1);
    registers.write(PCI_ERR_UNCOR_STATUS, PCI_ERR_UNC_COMP_ABORT);
    registers.write(PCI_ERR_UNCOR_MASK, before);
    expect(device.config.read32(registers.offset + PCI_ERR_UNCOR_MASK)).toBe(before);
    errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('successful');
    expect(signal.take()).toBe(1);
  },
);

test(
  'aer.mask.all',
  'a device with all errors masked reports none',
  { ...BY_KERNEL, devices: ENDPOINTS },
  (context) => {
    const { signal, registers, recoveries } = listen(context);
    const errors = new KernelErrors(context, context.pci);
    const masks = [PCI_ERR_UNCOR_MASK, PCI_ERR_COR_MASK] as const;
    const before = masks.map((register) => registers.read(register));
    const kinds = registers.kinds('non-fatal');
    for (const register of masks) registers.write(register, 0xffff_ffff);
    for (const uncorrectable of kinds)
      expect(errors.tryInject({ uncorrectable })).toFailWith('EINVAL');
    expect(errors.tryInject({ correctable: PCI_ERR_COR_ADV_NFAT })).toFailWith('EINVAL');
    expect(signal.take()).toBe(0);
    registers.write(PCI_ERR_UNCOR_STATUS, registers.read(PCI_ERR_UNCOR_STATUS));
    registers.write(PCI_ERR_COR_STATUS, registers.read(PCI_ERR_COR_STATUS));
    masks.forEach((register, index) => registers.write(register, before[index]!));
    errors.inject({ uncorrectable: PCI_ERR_UNC_POISON_TLP });
    expect(recoveries.next().outcome).toBe('successful');
    expect(signal.take()).toBe(1);
  },
);

test(
  'aer.severity.to-fatal',
  'an error that the user makes fatal resets the link',
  { ...BY_KERNEL, needs: [OWN_MACHINE, ...BY_KERNEL.needs], device: 'igb' },
  (context) => {
    context.defer(() => replug('igb'));
    const log = context.kernelLog();
    const { signal, registers, recoveries } = listen(context);
    const errors = new KernelErrors(context, context.pci);
    const before = registers.read(PCI_ERR_UNCOR_SEVER);
    registers.write(PCI_ERR_UNCOR_SEVER, (before | PCI_ERR_UNC_COMP_TIME) >>> 0);
    expect(registers.read(PCI_ERR_UNCOR_SEVER)).toBe((before | PCI_ERR_UNC_COMP_TIME) >>> 0);
    errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_TIME });
    expect(recoveries.next().outcome).toBe('successful');
    expect(signal.take()).toBe(1);
    expect(log.drain().some((line) => line.includes('link has been reset (0)'))).toBe(true);
  },
);

test(
  'aer.severity.to-non-fatal',
  'an error that the user makes non-fatal leaves the link alone',
  { ...BY_KERNEL, device: 'igb' },
  (context) => {
    const log = context.kernelLog();
    const { signal, registers, recoveries } = listen(context);
    const errors = new KernelErrors(context, context.pci);
    const before = registers.read(PCI_ERR_UNCOR_SEVER);
    registers.write(PCI_ERR_UNCOR_SEVER, (before & ~PCI_ERR_UNC_MALF_TLP) >>> 0);
    errors.inject({ uncorrectable: PCI_ERR_UNC_MALF_TLP });
    expect(recoveries.next().outcome).toBe('successful');
    expect(signal.take()).toBe(1);
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(0);
    expect(log.drain().some((line) => line.includes('link has been reset'))).toBe(false);
    registers.write(PCI_ERR_UNCOR_SEVER, before);
  },
);
