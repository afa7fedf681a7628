import {
  Group,
  Irqs,
  OWN_MACHINE,
  O_RDWR,
  UNLOADABLE_VFIO_PCI,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_VGA_REGION_INDEX,
  VFIO_TYPE1v2_IOMMU,
  bindAnew,
  deviceDisIntx,
  eventually,
  expect,
  reloadVfioPci,
  switchOnForVfioPci,
  sys,
  test,
  tryWriteAttribute,
  unbind,
  CHANGEABLE_VFIO_PCI,
  functionInRole,
  setModuleParameter,
  type Device,
  type Eventfd,
  type PciFunction,
} from '../../../harness/testing/index.ts';
import { statSync } from 'node:fs';

const PARAMETERS = '/sys/module/vfio_pci/parameters';

test(
  'group.parameters.modes',
  'the parameters of vfio-pci are off, and changeable where the kernel can follow',
  { source: 'drivers/vfio/pci/vfio_pci.c module_param()', needs: [OWN_MACHINE] },
  () => {
    const mode = (name: string) => statSync(`${PARAMETERS}/${name}`).mode & 0o777;
    expect(mode('nointxmask')).toBe(0o644);
    expect(mode('disable_idle_d3')).toBe(0o644);
    expect(mode('enable_sriov')).toBe(0o644);
    expect(mode('disable_denylist')).toBe(0o444);
    expect(() => statSync(`${PARAMETERS}/ids`)).toThrow(/ENOENT/);
  },
);

test(
  'group.parameters.idle-d3',
  'a device with power management sleeps in D3hot while nobody has it open, and is in D0 while open',
  {
    source: [
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_register_device()',
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_enable()',
    ],
    device: 'e1000e',
    needs: [OWN_MACHINE],
  },
  ({ pci, openGroup, containerWith, openDevice }) => {
    bindAnew(pci, 'vfio-pci');
    const state = () => pci.attribute('power_state');
    expect(pci.attribute('power/control')).toBe('auto');
    expect(eventually(() => state() === 'D3hot')).toBe(true);
    containerWith(openGroup());
    expect(eventually(() => state() === 'D3hot')).toBe(true);
    for (let round = 0; round < 3; round++) {
      const first = openDevice(openGroup());
      const second = openDevice(openGroup());
      expect(state()).toBe('D0');
      first.close();
      expect(second.config.read16(0)).toBe(pci.vendor);
      expect(state()).toBe('D0');
      second.close();
      expect(eventually(() => state() === 'D3hot')).toBe(true);
    }
    unbind(pci);
    expect(pci.attribute('power/control')).toBe('on');
    expect(pci.attribute('power/runtime_status')).toBe('active');
  },
);

test(
  'group.parameters.disable-idle-d3',
  'with disable_idle_d3 a closed device stays awake',
  {
    source: 'drivers/vfio/pci/vfio_pci.c disable_idle_d3',
    device: 'e1000e',
    needs: [OWN_MACHINE, CHANGEABLE_VFIO_PCI],
  },
  (context) => {
    context.defer(switchOnForVfioPci('disable_idle_d3', [functionInRole(context.role)!]));
    const { pci, container, openGroup, openDevice } = context;
    expect(container.fd).toBeGreaterThanOrEqual(0);
    expect(pci.attribute('power/runtime_status')).toBe('active');
    openDevice(openGroup()).close();
    expect(eventually(() => pci.attribute('power_state') === 'D3hot', 200)).toBe(false);
    expect(pci.attribute('power_state')).toBe('D0');
  },
);

/** Whether masking INTx through VFIO sets DisINTx in the device itself. */
function masksInDevice(pci: PciFunction, device: Device, signal: Eventfd): boolean {
  const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
  intx.enable([signal]);
  expect(deviceDisIntx(pci)).toBe(false);
  intx.mask();
  const masked = deviceDisIntx(pci);
  intx.unmask();
  expect(deviceDisIntx(pci)).toBe(false);
  return masked;
}

test(
  'group.parameters.intx-mask',
  'INTx is masked in a device that can do it',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_enable()',
    device: 'e1000e',
    needs: [OWN_MACHINE],
  },
  ({ pci, device, eventfd }) => {
    expect(masksInDevice(pci, device, eventfd())).toBe(true);
  },
);

test(
  'group.parameters.nointxmask',
  'with nointxmask INTx is masked in the interrupt controller, not in the device',
  {
    source: 'drivers/vfio/pci/vfio_pci.c nointxmask',
    device: 'e1000e',
    needs: [OWN_MACHINE, CHANGEABLE_VFIO_PCI],
  },
  (context) => {
    context.defer(switchOnForVfioPci('nointxmask', [functionInRole(context.role)!]));
    expect(masksInDevice(context.pci, context.device, context.eventfd())).toBe(false);
  },
);

test(
  'group.parameters.latched',
  'a parameter that changes counts for devices that are bound afterwards, not for those that are',
  {
    source: 'drivers/vfio/pci/vfio_pci.c vfio_pci_init_dev()',
    device: 'e1000e',
    since: '7.3',
    needs: [OWN_MACHINE],
  },
  ({ pci, container, openGroup, openDevice, eventfd, defer }) => {
    const set = (value: string) => tryWriteAttribute(`${PARAMETERS}/nointxmask`, value);
    defer(() => {
      set('N');
      unbind(pci);
    });
    expect(set('Y')).toSucceed();
    const before = openDevice(openGroup());
    expect(masksInDevice(pci, before, eventfd())).toBe(true);
    before.close();
    openGroup().close();
    bindAnew(pci, 'vfio-pci');
    const group = Group.open(pci.group!);
    defer(() => group.close());
    group.setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(masksInDevice(pci, openDevice(group), eventfd())).toBe(false);
  },
);

test(
  'group.parameters.latched-idle-d3',
  'disable_idle_d3 keeps devices awake that are bound while it is set, and no others',
  {
    source: 'drivers/vfio/pci/vfio_pci.c vfio_pci_init_dev()',
    device: 'e1000e',
    since: '7.3',
    needs: [OWN_MACHINE],
  },
  ({ pci, openFreshGroup, containerWith, openDevice, defer }) => {
    const asleep = () => pci.attribute('power_state') === 'D3hot';
    const use = () => {
      const group = openFreshGroup(pci.group!);
      containerWith(group);
      const device = openDevice(group);
      expect(device.config.read16(0)).toBe(pci.vendor);
      device.close();
      group.close();
    };
    const again = () => bindAnew(pci, 'vfio-pci');
    defer(again);
    const restore = setModuleParameter('vfio_pci', 'disable_idle_d3', 'Y');
    defer(restore);
    use();
    expect(eventually(asleep)).toBe(true);
    again();
    for (let round = 0; round < 2; round++) {
      expect(eventually(asleep, 50)).toBe(false);
      use();
    }
    restore();
    use();
    expect(eventually(asleep, 50)).toBe(false);
    again();
    expect(eventually(asleep)).toBe(true);
  },
);

/** What the VGA arbiter tells of its default device (Documentation/gpu/vgaarbiter.rst). */
function vgaArbiter(): string {
  const text = Buffer.alloc(256);
  const arbiter = sys.open('/dev/vga_arbiter', O_RDWR);
  expect(sys.read(arbiter, text)).toBeGreaterThan(0);
  sys.close(arbiter);
  return text.toString('latin1');
}

for (const disabled of [false, true]) {
  test(
    `group.parameters.${disabled ? 'disable-vga' : 'vga'}`,
    disabled
      ? 'with disable_vga a VGA device has no legacy region'
      : 'a VGA device has the legacy region',
    {
      source: 'drivers/vfio/pci/vfio_pci.c disable_vga',
      device: 'vga',
      needs: [OWN_MACHINE, UNLOADABLE_VFIO_PCI],
    },
    (context) => {
      context.defer(reloadVfioPci(...(disabled ? ['disable_vga=1'] : [])));
      const { device } = context;
      const answer = device.tryGetRegionInfo(VFIO_PCI_VGA_REGION_INDEX);
      if (disabled) expect(answer).toFailWith('EINVAL');
      else expect(device.regionInfo(VFIO_PCI_VGA_REGION_INDEX).size).toBe(0xc0000n);
      // On a root bus no bridge keeps the legacy addresses from it.
      expect(vgaArbiter()).toContain(`PCI:${context.pci.bdf},decodes=io+mem,`);
    },
  );
}
