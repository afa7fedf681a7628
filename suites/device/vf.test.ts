import {
  OWN_MACHINE,
  PCI_CAP_ID_PM,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  RawConfig,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_REGION_INFO_FLAG_MMAP,
  bindTo,
  enableDevice,
  expect,
  findCapability,
  makeVirtualFunctions,
  modelConfigSpace,
  scratchRegisters,
  structureOf,
  test,
  trySetVfs,
  virtualFunctions,
  type Device,
  type PciFunction,
  type TestContext,
} from '../../harness/testing/index.ts';

const TOKEN = 'a3f0c1d2-5b6e-4f70-8192-a3b4c5d6e7f8';
const NEEDS = { device: 'igb', needs: [OWN_MACHINE] };
const MEMORY = 'drivers/vfio/pci/vfio_pci_config.c __vfio_pci_memory_enabled()';
/** MSI-X table BAR of igb's virtual functions. */
const TABLE_BAR = 3;

/** The physical function open, with one virtual function below it, open too. */
function openPair(context: TestContext): { pf: Device; vf: Device; pci: PciFunction } {
  const { pci: physical, container, group, openDevice, openFreshGroup } = context;
  // First, for opening it resets it, and its virtual functions with it.
  const pf = openDevice(group, `${physical.bdf} vf_token=${TOKEN}`);
  const [pci] = makeVirtualFunctions(context) as [PciFunction];
  bindTo(pci, 'vfio-pci');
  const vfGroup = openFreshGroup(pci.group!);
  vfGroup.setContainer(container);
  const vf = openDevice(vfGroup, `${pci.bdf} vf_token=${TOKEN}`);
  return { pf, vf, pci };
}

test(
  'device.vf.info',
  'a virtual function has the regions that its resources say, MSI-X, and no INTx, I/O or ROM',
  { source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_region_info()', ...NEEDS },
  (context) => {
    const { vf, pci } = openPair(context);
    const resources = pci.resources();
    for (const index of [0, 1, 2, 3, 4, 5]) {
      const info = vf.regionInfo(index);
      expect(info.size, `BAR ${index}`).toBe(resources[index]!.size);
      expect((info.flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0).toBe(info.size > 0n);
    }
    expect(vf.regionInfo(6).size).toBe(0n);
    expect(vf.irqInfo(VFIO_PCI_INTX_IRQ_INDEX).count).toBe(0);
    expect(vf.irqInfo(VFIO_PCI_MSIX_IRQ_INDEX).count).toBe(3);
    expect(vf.info().flags & VFIO_DEVICE_FLAGS_RESET).toBe(VFIO_DEVICE_FLAGS_RESET);
  },
);

test(
  'device.vf.memory',
  'the memory of a virtual function is usable whatever its command register says: it has no such bit',
  { source: `${MEMORY}: no_command_memory`, ...NEEDS },
  (context) => {
    const { pf, vf } = openPair(context);
    enableDevice(pf);
    const region = vf.region(TABLE_BAR);
    const mapping = context.map(region);
    for (const command of [PCI_COMMAND_MEMORY, 0, PCI_COMMAND_MEMORY]) {
      vf.config.write16(PCI_COMMAND, command);
      expect(vf.config.read16(PCI_COMMAND) & PCI_COMMAND_MEMORY).toBe(command);
      expect(mapping.tryLoad(32, 12), `command ${command}`).toSucceed();
      expect(mapping.tryStore(32, 0, 0)).toSucceed();
      expect(region.tryRead(region.size - 4, 4)).toSucceed(4);
      expect(region.tryWrite(region.size - 4, Buffer.alloc(4))).toSucceed(4);
    }
  },
);

test(
  'device.vf.reset',
  'a virtual function is reset alone: its physical function keeps its registers',
  { source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset()', ...NEEDS },
  (context) => {
    const { pf, vf } = openPair(context);
    enableDevice(pf);
    enableDevice(vf);
    const MTA = 0x5200;
    pf.region(0).write32(MTA, 0x3333_0000);
    expect(vf.tryReset()).toSucceed(0);
    expect(pf.region(0).read32(MTA)).toBe(0x3333_0000);
    expect(vf.region(TABLE_BAR).tryRead(vf.region(TABLE_BAR).size - 4, 4)).toSucceed(4);
  },
);

test(
  'device.vf.pf-reset',
  'a reset of a physical function keeps its virtual ones, which are open meanwhile and after it',
  { source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset()', ...NEEDS },
  (context) => {
    const { pf, vf, pci } = openPair(context);
    enableDevice(pf);
    enableDevice(vf);
    const hardware = new RawConfig(context.pci);
    context.defer(() => hardware.close());
    const { start, length } = structureOf(modelConfigSpace(hardware.readAll()), 'ext-SRIOV');
    const before = hardware.read(start, length);
    const { region, offset } = scratchRegisters('igb');
    const table = vf.region(TABLE_BAR);
    const mapping = context.map(table);
    for (let round = 0; round < 2; round++) {
      pf.region(region).write32(offset, 0x3333_0000);
      table.write32(0, 0x1234_5000);
      expect(pf.tryReset()).toSucceed(0);
      expect(pf.region(region).read32(offset), 'it was reset').toBe(0);
      expect(hardware.read(start, length), 'SR-IOV capability').toEqual(before);
      expect(virtualFunctions(context.pci).map(({ bdf }) => bdf)).toEqual([pci.bdf]);
      expect(mapping.tryLoad(32, 0)).toSucceed();
      expect(table.tryRead(table.size - 4, 4)).toSucceed(4);
    }
    expect(vf.tryReset()).toSucceed(0);
  },
);

test(
  'device.vf.pf-power',
  'a physical function does not go to sleep while it has virtual ones',
  {
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_set_power_state(): EBUSY',
    fixes: ['f4162eb1e2fc (PF in D3 while VFs are in use)'],
    ...NEEDS,
  },
  (context) => {
    const { pf, vf } = openPair(context);
    enableDevice(pf);
    const at = findCapability(pf.config, PCI_CAP_ID_PM)! + 4;
    pf.config.write16(at, 3);
    expect(pf.config.read16(at) & 3).toBe(0);
    expect(context.pci.config().readUInt16LE(at) & 3).toBe(0);
    expect(pf.region(0).tryRead(8, 4)).toSucceed(4);
    expect(vf.region(TABLE_BAR).tryRead(vf.region(TABLE_BAR).size - 4, 4)).toSucceed(4);
    vf.close();
    trySetVfs(context.pci, 0).must();
    pf.config.write16(at, 3);
    expect(pf.config.read16(at) & 3).toBe(3);
    expect(pf.region(0).tryRead(8, 4)).toFailWith('EIO');
    pf.config.write16(at, 0);
    expect(pf.region(0).tryRead(8, 4)).toSucceed(4);
  },
);

test(
  'device.vf.wakes-pf',
  'a physical function that sleeps is woken when it gets virtual ones',
  { source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_sriov_configure()', ...NEEDS },
  (context) => {
    const { device, pci } = context;
    enableDevice(device);
    const at = findCapability(device.config, PCI_CAP_ID_PM)! + 4;
    device.config.write16(at, 3);
    expect(device.region(0).tryRead(8, 4)).toFailWith('EIO');
    makeVirtualFunctions(context);
    expect(device.config.read16(at) & 3).toBe(0);
    expect(pci.config().readUInt16LE(at) & 3).toBe(0);
    expect(device.region(0).tryRead(8, 4)).toSucceed(4);
  },
);
