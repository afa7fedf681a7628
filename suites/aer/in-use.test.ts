import {
  AerRegisters,
  Edu,
  Igb,
  Irqs,
  KernelErrors,
  OWN_MACHINE,
  PCI_CAP_ID_PM,
  PCI_ERR_UNC_COMP_ABORT,
  PCI_PM_CTRL,
  REMAPPED_DMA,
  Recoveries,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  enableDevice,
  eventually,
  expect,
  findCapability,
  functionInRole,
  AER_INJECT,
  test,
  type TestContext,
} from '../../harness/testing/index.ts';
import { nonFatalReporter } from './non-fatal.ts';

const NEEDS = {
  covers: [VFIO_DEVICE_SET_IRQS],
  source: [
    'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_aer_err_detected()',
    'drivers/pci/pcie/err.c pcie_do_recovery()',
  ],
  device: 'igb',
  needs: [OWN_MACHINE, AER_INJECT],
};

/** An eventfd on the device's errors, and what reports one and waits until all is over. */
function prepare(context: TestContext, role = context.role) {
  const signal = context.eventfd();
  new Irqs(context.device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
  return { signal, report: nonFatalReporter(context, functionInRole(role)!) };
}

test(
  'aer.in-use.registers',
  'a non-fatal error changes no register of the device',
  NEEDS,
  (context) => {
    const { device } = context;
    const { signal, report } = prepare(context);
    const nic = new Igb(device);
    nic.bar.store32(0x5200, 0x1234_5678);
    const config = device.config.read(0, 64);
    report();
    expect(signal.take()).toBe(1);
    expect(nic.bar.load32(0x5200)).toBe(0x1234_5678);
    const [before, after] = [config, device.config.read(0, 64)];
    expect(after).toEqual(before);
    nic.unmap();
  },
);

test(
  'aer.in-use.msix',
  'interrupts go on through a non-fatal error: none is lost, none is added',
  NEEDS,
  (context) => {
    const { device, eventfd } = context;
    const { signal, report } = prepare(context);
    const vectors = [eventfd(), eventfd(), eventfd()];
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable(vectors);
    const nic = new Igb(device);
    for (let round = 0; round < 2; round++) {
      report();
      expect(signal.take()).toBe(1);
      vectors.forEach((vector, index) => {
        nic.raise(index);
        expect(vector.soon()).toBe(1);
      });
      nic.acknowledge();
      expect(vectors.map((vector) => vector.take())).toEqual([0, 0, 0]);
    }
    msix.disable();
    nic.unmap();
  },
);

test(
  'aer.in-use.masked-intx',
  'an INTx that is masked stays so through a non-fatal error',
  { ...NEEDS, device: 'switch-edu-a', uses: ['switch-port-a'], since: '7.0' },
  (context) => {
    const { device, eventfd } = context;
    const { signal, report } = prepare(context, 'switch-port-a');
    const line = eventfd();
    const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([line]);
    const edu = new Edu(device);
    edu.raise();
    expect(line.soon()).toBe(1);
    report();
    expect(signal.take()).toBe(1);
    expect(line.quiet(), 'masked by its signal').toBe(0);
    intx.unmask();
    expect(line.soon(), 'still raised').toBe(1);
    edu.acknowledge();
    intx.disable();
    edu.unmap();
  },
);

test(
  'aer.in-use.dma',
  'a DMA transfer that is under way when an error is reported carries its data to its end',
  {
    ...NEEDS,
    device: 'switch-edu-a',
    uses: ['switch-port-a'],
    needs: [...NEEDS.needs, REMAPPED_DMA],
    since: '7.0',
  },
  (context) => {
    const { container, device, memory } = context;
    const { signal, report } = prepare(context, 'switch-port-a');
    const pages = memory({ size: 8192, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 8192n });
    pages.fill(7, 0, 4096);
    const edu = new Edu(device);
    edu.readMemory(0n, 4096);
    edu.startWriteMemoryWithInterrupt(4096n, 4096);
    report();
    expect(signal.take()).toBe(1);
    expect(eventually(() => !edu.dmaBusy())).toBe(true);
    expect(pages.verify(7, 4096, 4096)).toBe(-1);
    edu.acknowledge();
    edu.unmap();
  },
);

test(
  'aer.in-use.d3hot',
  'an error of a device in D3hot is signalled, and the device stays there until its user wakes it',
  NEEDS,
  (context) => {
    const { device } = context;
    const { signal, report } = prepare(context);
    enableDevice(device);
    const control = findCapability(device.config, PCI_CAP_ID_PM)! + PCI_PM_CTRL;
    device.config.write16(control, 3);
    expect(device.config.read16(control) & 3).toBe(3);
    report();
    expect(signal.take()).toBe(1);
    expect(device.config.read16(control) & 3).toBe(3);
    expect(device.region(0).tryRead(8, 4)).toFailWith('EIO');
    device.config.write16(control, 0);
    enableDevice(device);
    expect(device.region(0).read32(8)).not.toBe(0xffff_ffff);
    report();
    expect(signal.take()).toBe(1);
  },
);

const LOW_POWER = {
  ...NEEDS,
  covers: [VFIO_DEVICE_FEATURE.flag('VFIO_DEVICE_FEATURE_SET')],
  source: [
    'include/uapi/linux/vfio.h VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY',
    'drivers/pci/pcie/err.c pci_pm_runtime_get_sync()',
    'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_runtime_resume()',
  ],
};

test(
  'aer.in-use.low-power',
  'a device in low power is woken for an error, which is signalled, and falls asleep again',
  LOW_POWER,
  (context) => {
    const { device, pci } = context;
    const { signal, report } = prepare(context);
    const asleep = () => pci.attribute('power/runtime_status') === 'suspended';
    expect(
      device.tryFeature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY),
    ).toSucceed();
    expect(eventually(asleep)).toBe(true);
    report();
    expect(signal.take()).toBe(1);
    expect(eventually(asleep)).toBe(true);
    expect(
      device.tryFeature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT),
    ).toSucceed();
    enableDevice(device);
    expect(device.region(0).read32(8)).not.toBe(0xffff_ffff);
  },
);

test(
  'aer.in-use.low-power-wakeup',
  'an error wakes a device that is in low power with a wakeup eventfd: both eventfds are signalled once',
  LOW_POWER,
  (context) => {
    const { device, eventfd, pci } = context;
    const { signal, report } = prepare(context);
    const wakeup = eventfd();
    const payload = Buffer.alloc(8);
    payload.writeInt32LE(wakeup.fd);
    expect(
      device.tryFeature(
        VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
        payload,
      ),
    ).toSucceed();
    expect(eventually(() => pci.attribute('power/runtime_status') === 'suspended')).toBe(true);
    expect([wakeup.take(), signal.take()]).toEqual([0, 0]);
    report();
    expect([wakeup.take(), signal.take()]).toEqual([1, 1]);
    expect(pci.attribute('power/runtime_status')).toBe('active');
    report();
    expect([wakeup.take(), signal.take()], 'woken already').toEqual([0, 1]);
  },
);

test(
  'aer.in-use.no-container',
  'an error of a device whose group is open but in no container disturbs nothing',
  NEEDS,
  (context) => {
    const group = context.openGroup();
    const recoveries = new Recoveries(context);
    new KernelErrors(context, context.pci).inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('successful');
    expect(group.status()).toBe(1);
    expect(new AerRegisters(context.device).read(4)).toBe(0);
  },
);

test(
  'aer.in-use.bound-only',
  'an error of a device that VFIO has but nobody opened is recovered from',
  { ...NEEDS, device: undefined, devices: ['igb', 'e1000e', 'virtio-net'] },
  (context) => {
    const { pci } = context;
    const recoveries = new Recoveries(context);
    new KernelErrors(context, pci).inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next()).toEqual({ port: pci.parent!.bdf, outcome: 'successful' });
    expect(context.device.config.read16(0)).toBe(pci.vendor);
  },
);
