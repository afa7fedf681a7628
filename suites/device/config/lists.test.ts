import {
  ConfigPair,
  PCI_CAPABILITY_LIST,
  PCI_CFG_SPACE_EXP_SIZE,
  PCI_CFG_SPACE_SIZE,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  expect,
  findCapability,
  findExtendedCapability,
  test,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const WITH_CAPABILITIES = ['edu', 'e1000e', 'igb', 'nvme', 'virtio-net', 'vmxnet3', 'ahci'];

function open({ device, pci, defer }: TestContext): ConfigPair {
  const pair = new ConfigPair(device, pci);
  defer(() => pair.close());
  return pair;
}

/** Offsets and ids of the standard list in `bytes`, as a driver walks it. */
function standardList(bytes: Buffer): { at: number; id: number }[] {
  const found: { at: number; id: number }[] = [];
  let at = bytes[PCI_CAPABILITY_LIST]!;
  for (let steps = 0; at !== 0 && steps < 48; steps++) {
    found.push({ at, id: bytes[at]! });
    at = bytes[at + 1]!;
  }
  return found;
}

/** The same of the extended list. */
function extendedList(bytes: Buffer): { at: number; id: number; version: number }[] {
  const found: { at: number; id: number; version: number }[] = [];
  let at = PCI_CFG_SPACE_SIZE;
  for (let steps = 0; at >= PCI_CFG_SPACE_SIZE && at < bytes.length && steps < 960; steps++) {
    const header = bytes.readUInt32LE(at);
    if (header === 0) break;
    found.push({ at, id: header & 0xffff, version: (header >>> 16) & 0xf });
    at = header >>> 20;
  }
  return found;
}

test(
  'device.config.list.standard',
  'the list of capabilities is that of the hardware without those that VFIO does not know',
  { source: `${CONFIG} vfio_cap_init()`, devices: WITH_CAPABILITIES, peer: ['S1'] },
  (context) => {
    const { view, hardware, model } = open(context);
    const hidden = new Set(model.hidden.filter((one) => !one.extended).map(({ start }) => start));
    const wanted = standardList(hardware.readAll()).filter(({ at }) => !hidden.has(at));
    const shown = standardList(view.readAll());
    expect(shown).toEqual(wanted);
    expect(shown.length).toBeGreaterThan(0);
    expect(view.read16(PCI_STATUS) & PCI_STATUS_CAP_LIST).toBe(PCI_STATUS_CAP_LIST);
    for (const { at, id } of shown) {
      expect(view.read16(at) & 0xff, 'the id in both widths').toBe(id);
      expect(view.read16(at) >> 8).toBe(view.read8(at + 1));
      expect(view.read32(at) & 0xffff).toBe(view.read16(at));
    }
  },
);

test(
  'device.config.list.read-only',
  'ids and pointers of the list cannot be written, in any width',
  { source: `${CONFIG} cap_perms[]`, devices: WITH_CAPABILITIES },
  (context) => {
    const { view, hardware, model } = open(context);
    const before = hardware.readAll();
    const shown = standardList(view.readAll());
    for (const { at } of shown) {
      if (model.raw[at] === 0xff) continue;
      view.write8(at, 0xff);
      view.write8(at + 1, 0xf0);
      view.write16(at, 0xf0ff);
    }
    view.write8(PCI_CAPABILITY_LIST, 0xf0);
    view.write32(PCI_CAPABILITY_LIST, 0xf0f0_f0f0);
    expect(standardList(view.readAll())).toEqual(shown);
    expect(hardware.readAll()).toEqual(before);
  },
);

test(
  'device.config.list.none',
  'a device without capabilities has an empty list for the user, too',
  {
    source: `${CONFIG} vfio_cap_init()`,
    devices: ['pci-testdev', 'vga', 'bridge-child-a'],
  },
  (context) => {
    const { view, hardware } = open(context);
    expect(hardware.read16(PCI_STATUS) & PCI_STATUS_CAP_LIST).toBe(0);
    expect(view.read16(PCI_STATUS)).toBe(hardware.read16(PCI_STATUS));
    expect(view.read8(PCI_CAPABILITY_LIST)).toBe(hardware.read8(PCI_CAPABILITY_LIST));
    expect(view.size).toBe(PCI_CFG_SPACE_SIZE);
  },
);

test(
  'device.config.list.extended',
  'the list of extended capabilities is that of the hardware without those that VFIO does not know',
  {
    source: `${CONFIG} vfio_ecap_init()`,
    devices: ['e1000e', 'igb', 'virtio-net'],
    peer: ['S1'],
  },
  (context) => {
    const { view, hardware, model } = open(context);
    const hidden = new Set(model.hidden.filter((one) => one.extended).map(({ start }) => start));
    const real = hardware.readAll();
    const wanted = extendedList(real).filter(({ at }) => !hidden.has(at));
    const shown = extendedList(view.readAll());
    expect(shown).toEqual(wanted);
    expect(shown.length).toBeGreaterThan(0);
    for (const { at, id } of shown) {
      expect(view.read16(at)).toBe(id);
      expect(view.read16(at + 2)).toBe(view.read32(at) >>> 16);
      view.write32(at, 0);
      view.write16(at + 2, 0xffff);
    }
    expect(extendedList(view.readAll())).toEqual(shown);
    expect(hardware.readAll()).toEqual(real);
  },
);

test(
  'device.config.list.no-extended',
  'a PCI Express device without extended capabilities has 4096 bytes and none at 0x100',
  { source: `${CONFIG} vfio_cap_len()`, devices: ['nvme', 'virtio-rng', 'xhci'] },
  (context) => {
    const { view } = open(context);
    expect(view.size).toBe(PCI_CFG_SPACE_EXP_SIZE);
    expect(view.read32(PCI_CFG_SPACE_SIZE)).toBe(0);
    expect(extendedList(view.readAll())).toEqual([]);
  },
);

const DOE = 0x2e;
const DVSEC = 0x23;

for (const { id, title, version } of [
  {
    id: 'hidden-extended',
    title: 'an extended capability that VFIO does not know is taken out of the list',
    // Everything but AER is unknown, the first one stays as an anchor.
    version: { until: '6.2' },
  },
  {
    id: 'hidden-behind-neighbours',
    title: 'an extended capability is hidden also if two of one kind stand side by side before it',
    version: { since: '6.2' },
  },
]) {
  test(
    `device.config.list.${id}`,
    title,
    {
      source: [`${CONFIG} vfio_ecap_init()`, `${CONFIG} vfio_find_cap_start()`],
      device: 'cxl',
      fixes: ['CVE-2024-53214'],
      ...version,
    },
    (context) => {
      const { view, hardware, model } = open(context);
      const real = extendedList(hardware.readAll());
      const mailbox = real.find((one) => one.id === DOE);
      expect(mailbox, 'the device has a mailbox').toBeDefined();
      expect(model.hidden).toContainEqual({ id: DOE, start: mailbox!.at, extended: true });
      expect(findExtendedCapability(view, DOE)).toBeNull();
      const hidden = new Set(model.hidden.map(({ start }) => start));
      const shown = extendedList(view.readAll()).filter((one) => one.id !== 0);
      expect(shown).toEqual(real.filter(({ at }) => !hidden.has(at)));
    },
  );
}

test(
  'device.config.list.dvsec',
  'designated vendor-specific capabilities are shown and read as in the hardware',
  { source: `${CONFIG} vfio_ext_cap_len()`, device: 'cxl', since: '6.2' },
  (context) => {
    const { view, hardware } = open(context);
    const real = extendedList(hardware.readAll()).filter(({ id }) => id === DVSEC);
    expect(real.length).toBeGreaterThan(1);
    expect(extendedList(view.readAll()).filter(({ id }) => id === DVSEC)).toEqual(real);
    for (const { at } of real) {
      const length = hardware.read32(at + 4) >>> 20;
      expect(view.read(at + 4, length - 4)).toEqual(hardware.read(at + 4, length - 4));
    }
  },
);

test(
  'device.config.list.first-hidden',
  'a first extended capability that VFIO does not know is shown as an empty anchor of the list',
  {
    source: `${CONFIG} vfio_ecap_init()`,
    device: 'cxl',
    until: '6.2',
    fixes: ['CVE-2024-53214'],
  },
  (context) => {
    const { view, hardware } = open(context);
    const [first] = extendedList(hardware.readAll());
    expect(first!.id, 'not known before 6.2').toBe(DVSEC);
    expect(view.read32(PCI_CFG_SPACE_SIZE) & 0xf_ffff, 'neither id nor version').toBe(0);
    const next = view.read32(PCI_CFG_SPACE_SIZE) >>> 20;
    expect(next, 'it leads on').toBeGreaterThan(0x100);
    view.write32(PCI_CFG_SPACE_SIZE, 0xffff_ffff);
    expect(view.read32(PCI_CFG_SPACE_SIZE)).toBe((next << 20) >>> 0);
  },
);

test(
  'device.config.list.find',
  'every capability of the hardware is found at its offset through VFIO',
  { source: `${CONFIG} vfio_cap_init()`, devices: ['e1000e', 'igb', 'virtio-net'] },
  (context) => {
    const { view, model } = open(context);
    const ids: Record<string, number> = { PM: 1, MSI: 5, EXP: 0x10, MSIX: 0x11 };
    for (const { name, start } of model.structures) {
      const id = ids[name];
      if (id !== undefined) expect(findCapability(view, id), name).toBe(start);
    }
    expect(findCapability(view, 0x0d)).toBeNull();
    expect(findExtendedCapability(view, 1)).toBe(
      model.structures.find(({ name }) => name === 'ext-ERR')!.start,
    );
  },
);
