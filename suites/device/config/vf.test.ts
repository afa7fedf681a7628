import {
  ConfigPair,
  OWN_MACHINE,
  PCI_BASE_ADDRESS_0,
  PCI_CARDBUS_CIS,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_DEVICE_ID,
  PCI_INTERRUPT_PIN,
  PCI_VENDOR_ID,
  VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_PCI_INTX_IRQ_INDEX,
  bindTo,
  expect,
  makeVirtualFunctions,
  test,
  type Device,
  type PciFunction,
  type Region,
  type RawConfig,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const TOKEN = '0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f0';
const NEEDS = { device: 'igb', needs: [OWN_MACHINE] };

interface OpenVf {
  vf: PciFunction;
  device: Device;
  view: Region;
  hardware: RawConfig;
}

/** A virtual function of the igb, open, its PF on vfio-pci. */
function openVf(context: TestContext): OpenVf {
  const { pci: pf, defer, containerWith, openFreshGroup } = context;
  const [vf] = makeVirtualFunctions(context) as [PciFunction];
  bindTo(vf, 'vfio-pci');
  const groups = [pf, vf].map((pci) => openFreshGroup(pci.group!));
  containerWith(...groups);
  const owner = groups[0]!.getDevice(pf.bdf);
  defer(() => owner.close());
  owner
    .tryFeature(
      VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
      Buffer.from(TOKEN.replaceAll('-', ''), 'hex'),
    )
    .must();
  const device = groups[1]!.getDevice(`${vf.bdf} vf_token=${TOKEN}`);
  defer(() => device.close());
  const pair = new ConfigPair(device, vf);
  defer(() => pair.close());
  return { vf, device, view: pair.view, hardware: pair.hardware };
}

test(
  'device.config.vf.ids',
  'a VF, whose hardware has no ids, shows those that Linux knows it by',
  { source: `${CONFIG} vfio_config_init()`, peer: ['S1'], ...NEEDS },
  (context) => {
    const { vf, view, hardware } = openVf(context);
    expect(hardware.read32(PCI_VENDOR_ID)).toBe(0xffff_ffff);
    expect(view.read16(PCI_VENDOR_ID)).toBe(vf.vendor);
    expect(view.read16(PCI_DEVICE_ID)).toBe(vf.device);
    expect(view.read32(PCI_VENDOR_ID)).toBe(((vf.device << 16) | vf.vendor) >>> 0);
    view.write32(PCI_VENDOR_ID, 0x1234_5678);
    expect(view.read16(PCI_VENDOR_ID)).toBe(vf.vendor);
    expect(view.read8(PCI_DEVICE_ID + 1)).toBe(vf.device >> 8);
  },
);

test(
  'device.config.vf.memory-enable',
  'a VF shows memory decoding as the user sets it, although it always decodes',
  {
    source: [`${CONFIG} vfio_basic_config_read()`, `${CONFIG} __vfio_pci_memory_enabled()`],
    ...NEEDS,
  },
  (context) => {
    const { device, view, hardware } = openVf(context);
    const bar = device.region(0);
    expect(view.read16(PCI_COMMAND) & PCI_COMMAND_MEMORY).toBe(PCI_COMMAND_MEMORY);
    expect(view.read8(PCI_COMMAND) & PCI_COMMAND_MEMORY).toBe(PCI_COMMAND_MEMORY);
    expect(bar.tryRead(0, 4)).toSucceed(4);
    view.write16(PCI_COMMAND, 0);
    expect(view.read16(PCI_COMMAND)).toBe(0);
    expect(bar.tryRead(0, 4), 'the PF decides').toSucceed(4);
    view.write16(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    expect(view.read16(PCI_COMMAND)).toBe(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_MASTER).toBe(PCI_COMMAND_MASTER);
  },
);

test(
  'device.config.vf.bars',
  "the BARs of a VF, which its hardware does not have, tell the size of its share of the PF's",
  { source: `${CONFIG} vfio_bar_fixup()`, ...NEEDS },
  (context) => {
    const { vf, view, hardware } = openVf(context);
    const resources = vf.resources();
    const before = hardware.readAll();
    let found = 0;
    for (let index = 0; index < 6; index++) {
      const { start, size, flags } = resources[index]!;
      const at = PCI_BASE_ADDRESS_0 + 4 * index;
      expect(hardware.read32(at)).toBe(0);
      view.write32(at, 0xffff_ffff);
      if (start === 0n) {
        expect(view.read32(at)).toBe(0);
        continue;
      }
      found++;
      const is64 = (flags & 0x10_0000n) !== 0n;
      const kind = (flags & 0x2000n ? 8 : 0) | (is64 ? 4 : 0);
      expect(view.read32(at)).toBe(Number(~(size - 1n) & 0xffff_ffffn) + kind);
      if (is64) index++;
    }
    expect(found).toBeGreaterThan(0);
    expect(hardware.readAll()).toEqual(before);
  },
);

test(
  'device.config.vf.no-intx',
  'a VF has no INTx, neither in INTERRUPT_PIN nor among its interrupts',
  { source: `${CONFIG} vfio_config_init()`, ...NEEDS },
  (context) => {
    const { device, view } = openVf(context);
    expect(view.read8(PCI_INTERRUPT_PIN)).toBe(0);
    view.write8(PCI_INTERRUPT_PIN, 1);
    expect(view.read8(PCI_INTERRUPT_PIN)).toBe(0);
    expect(device.irqInfo(VFIO_PCI_INTX_IRQ_INDEX).count).toBe(0);
  },
);

test(
  'device.config.vf.no-restore',
  'a write to COMMAND of a VF writes no BARs to its hardware',
  { source: `${CONFIG} vfio_bar_restore()`, ...NEEDS },
  (context) => {
    const { view, hardware } = openVf(context);
    const bars = () => hardware.readAll().subarray(PCI_BASE_ADDRESS_0, PCI_CARDBUS_CIS);
    const before = bars();
    view.write32(PCI_BASE_ADDRESS_0, 0x1234_0000);
    view.write16(PCI_COMMAND, PCI_COMMAND_MEMORY);
    view.write16(PCI_COMMAND, PCI_COMMAND_MEMORY);
    expect(bars()).toEqual(before);
  },
);
