import {
  EXTENDED_PERMISSIONS,
  OWN_MACHINE,
  PCI_CFG_SPACE_SIZE,
  RawConfig,
  coversConfig,
  expect,
  layOutExtended,
  test,
  type ExtendedCapability,
  type Region,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const LENGTH = `${CONFIG} vfio_ext_cap_len(), pci_ext_cap_length[]`;
const INIT = `${CONFIG} vfio_ecap_init()`;
/** A device without extended capabilities of its own. */
const OPTIONS = { device: 'xhci-msi', needs: [OWN_MACHINE] };

const FIRST = PCI_CFG_SPACE_SIZE;
const ERR = 0x01;
const DSN = 0x03;
const PWR = 0x04;
const VNDR = 0x0b;
const LTR = 0x18;
const PASID = 0x1b;
const DVSEC = 0x23;
/** Ids that no specification of today gives out, or that VFIO leaves out. */
const UNKNOWN = [PASID, 0x7f, 0x1a5];

/** The device opened with these extended capabilities, and its config space past VFIO. */
function openWith(t: TestContext, capabilities: readonly ExtendedCapability[]) {
  t.defer(layOutExtended(t.pci, capabilities));
  const hardware = new RawConfig(t.pci);
  t.defer(() => hardware.close());
  return { view: t.openDevice(t.group).config, hardware };
}

/** Bytes of a capability behind its header, all `0x5a` but for those at the given offsets from its start. */
function body(length: number, fields: Record<number, number> = {}): Buffer {
  const bytes = Buffer.alloc(length, 0x5a);
  for (const [offset, value] of Object.entries(fields)) bytes[Number(offset) - 4] = value;
  return bytes;
}

/** Ids and places of the extended list as a driver walks it. */
function listOf(view: Region): { at: number; id: number }[] {
  const found: { at: number; id: number }[] = [];
  for (let at = FIRST; at !== 0; at = view.read32(at) >>> 20) {
    found.push({ at, id: view.read16(at) });
  }
  return found;
}

/** The name of the extended capability with an id, as `coversConfig` wants it. */
function structureNamed(id: number): string {
  return `ext-${EXTENDED_PERMISSIONS.find((one) => one.id === id)!.name}`;
}

/** PCI Express 5.0, 7.9: the fields on which the length depends, and the length in bytes. */
const LENGTHS: { name: string; id: number; length: number; fields?: Record<number, number> }[] = [
  { name: 'dsn', id: DSN, length: 12 },
  { name: 'ari', id: 0x0e, length: 8 },
  { name: 'ats', id: 0x0f, length: 8 },
  { name: 'sriov', id: 0x10, length: 0x40 },
  { name: 'mcast', id: 0x12, length: 40 },
  { name: 'pri', id: 0x13, length: 16 },
  { name: 'ltr', id: LTR, length: 8 },
  // Virtual channels beyond the first; arbitration table of 32, 64 or 128 phases.
  { name: 'vc-one', id: 0x02, length: 0x1c, fields: { 4: 0, 8: 0 } },
  { name: 'vc-three', id: 0x02, length: 0x34, fields: { 4: 2, 8: 1 } },
  { name: 'vc-32-phases', id: 0x02, length: 0x30, fields: { 4: 0, 8: 2 } },
  { name: 'vc-64-phases', id: 0x02, length: 0x50, fields: { 4: 1, 8: 6 } },
  { name: 'vc-128-phases', id: 0x02, length: 0x60, fields: { 4: 0, 8: 8 } },
  { name: 'mfvc', id: 0x08, length: 0x28, fields: { 4: 1, 8: 0 } },
  { name: 'vc9', id: 0x09, length: 0x28, fields: { 4: 1, 8: 0 } },
  // Egress control: none, then a vector of bits.
  { name: 'acs', id: 0x0d, length: 8, fields: { 4: 0x1f, 5: 40 } },
  { name: 'acs-egress-1', id: 0x0d, length: 12, fields: { 4: 0x20, 5: 1 } },
  { name: 'acs-egress-33', id: 0x0d, length: 16, fields: { 4: 0x20, 5: 33 } },
  { name: 'acs-egress-256', id: 0x0d, length: 40, fields: { 4: 0x20, 5: 0 } },
  { name: 'rebar-1', id: 0x15, length: 12, fields: { 8: 1 << 5 } },
  { name: 'rebar-6', id: 0x15, length: 52, fields: { 8: 6 << 5 } },
  { name: 'dpa-1', id: 0x16, length: 17, fields: { 4: 0 } },
  { name: 'dpa-32', id: 0x16, length: 48, fields: { 4: 31 } },
  // Steering tags: none or in MSI-X, then in the capability.
  { name: 'tph', id: 0x17, length: 12, fields: { 5: 0x04, 6: 3, 7: 0 } },
  { name: 'tph-4-tags', id: 0x17, length: 20, fields: { 5: 0x02, 6: 3, 7: 0 } },
];

for (const { name, id, length, fields } of LENGTHS) {
  test(
    `device.config.extended.length.${name}`,
    'an extended capability is read-only up to its end, and what follows belongs to nobody',
    { covers: coversConfig(structureNamed(id)), source: LENGTH, ...OPTIONS },
    (t) => {
      const REST = 8;
      const { view, hardware } = openWith(t, [
        { at: FIRST, id, body: body(length - 4 + REST, fields) },
      ]);
      const before = hardware.read(FIRST, length + REST);
      expect(view.read(FIRST, length + REST)).toEqual(before);
      view.write(FIRST, Buffer.from(before.map((byte) => byte ^ 0xff)));
      const wanted = Buffer.from(
        before.map((byte, offset) => (offset < length ? byte : byte ^ 0xff)),
      );
      expect(hardware.read(FIRST, length + REST)).toEqual(wanted);
      expect(view.read(FIRST, length + REST)).toEqual(wanted);
    },
  );
}

test(
  'device.config.extended.power-budgeting',
  'of power budgeting the data select register can be written, and nothing else',
  {
    covers: coversConfig('ext-PWR'),
    source: `${CONFIG} init_pci_ext_cap_pwr_perm()`,
    ...OPTIONS,
  },
  (t) => {
    const SELECT = 4 + 4;
    const { view, hardware } = openWith(t, [{ at: FIRST, id: PWR, body: body(16) }]);
    const wanted = hardware.read(FIRST, 20);
    for (let offset = 0; offset < 20; offset++) view.write8(FIRST + offset, 0xa5);
    wanted[SELECT] = 0xa5;
    wanted.fill(0xa5, 16);
    expect(hardware.read(FIRST, 20)).toEqual(wanted);
    view.write32(FIRST + SELECT, 0x1234_5678);
    wanted[SELECT] = 0x78;
    expect(hardware.read(FIRST, 20)).toEqual(wanted);
    expect(view.read(FIRST, 20)).toEqual(wanted);
  },
);

test(
  'device.config.extended.error-reporting',
  'of error reporting the bits of known errors can be written, and nothing else up to its end',
  {
    covers: coversConfig('ext-ERR'),
    source: `${CONFIG} init_pci_ext_cap_err_perm()`,
    ...OPTIONS,
  },
  (t) => {
    const REST = 8;
    const { length, registers } = EXTENDED_PERMISSIONS.find(({ id }) => id === ERR)!;
    const size = length! + REST;
    const { view, hardware } = openWith(t, [{ at: FIRST, id: ERR, body: body(size - 4) }]);
    const writable = Buffer.alloc(size).fill(0xff, length);
    for (const register of registers) writable.writeUInt32LE(register.writable, register.offset);
    for (const fill of [0xff, 0x00, 0xa5]) {
      const before = hardware.read(FIRST, size);
      view.write(FIRST, Buffer.alloc(size, fill));
      const wanted = before.map((byte, at) => (byte & ~writable[at]!) | (fill & writable[at]!));
      expect(hardware.read(FIRST, size), `0x${fill.toString(16)}`).toEqual(wanted);
      expect(view.read(FIRST, size)).toEqual(wanted);
    }
  },
);

for (const [name, id] of [
  ['vendor', VNDR],
  ['dvsec', DVSEC],
] as const) {
  test(
    `device.config.extended.${name}`,
    'what follows the header of a vendor-specific extended capability is the hardware, read and written',
    {
      covers: coversConfig(structureNamed(id)),
      source: [LENGTH, `${CONFIG} vfio_pci_init_perm_bits()`],
      ...OPTIONS,
      ...(id === DVSEC && { since: '6.2' }),
    },
    (t) => {
      const LENGTH_FIELD = { 6: 0x00, 7: 0x02 };
      const { view, hardware } = openWith(t, [
        { at: FIRST, id, body: body(28, LENGTH_FIELD) },
        { at: 0x200, id: LTR },
      ]);
      expect(listOf(view)).toEqual([
        { at: FIRST, id },
        { at: 0x200, id: LTR },
      ]);
      const pattern = Buffer.from(Array.from({ length: 20 }, (_, i) => 0x80 + i));
      view.write(FIRST + 8, pattern);
      expect(hardware.read(FIRST + 8, 20)).toEqual(pattern);
      expect(view.read(FIRST + 8, 20)).toEqual(pattern);
      hardware.write32(FIRST + 12, 0x0badcafe);
      expect(view.read32(FIRST + 12)).toBe(0x0badcafe);
    },
  );
}

for (const id of UNKNOWN) {
  test(
    `device.config.extended.first-unknown.${id.toString(16)}`,
    'a first extended capability that VFIO does not know is an anchor without id, which only leads on',
    {
      source: [INIT, `${CONFIG} vfio_pci_config_rw_single()`],
      fixes: ['CVE-2024-53214', 'fe4bf8d0b671'],
      ...OPTIONS,
    },
    (t) => {
      const { view, hardware } = openWith(t, [
        { at: FIRST, id, body: body(12) },
        { at: 0x180, id: LTR, body: body(4) },
      ]);
      const before = hardware.read(FIRST, 16);
      const anchor = (0x180 << 20) >>> 0;
      expect(view.read32(FIRST)).toBe(anchor);
      expect([view.read16(FIRST), view.read16(FIRST + 2)]).toEqual([0, 0x1800]);
      expect([0, 1, 2, 3].map((byte) => view.read8(FIRST + byte))).toEqual([0, 0, 0, 0x18]);
      expect(listOf(view)).toEqual([
        { at: FIRST, id: 0 },
        { at: 0x180, id: LTR },
      ]);
      for (const width of [1, 2, 4]) view.write(FIRST, Buffer.alloc(width, 0xff));
      view.write8(FIRST + 3, 0xff);
      expect(view.read32(FIRST)).toBe(anchor);
      expect(hardware.read(FIRST, 16)).toEqual(before);
      expect(view.read(FIRST + 4, 12), 'behind it is the hardware').toEqual(before.subarray(4));
    },
  );

  test(
    `device.config.extended.unknown.${id.toString(16)}`,
    'an extended capability that VFIO does not know is taken out of the list, at any place in it',
    { source: INIT, ...OPTIONS },
    (t) => {
      const { view } = openWith(t, [
        { at: FIRST, id: DSN, body: body(8) },
        { at: 0x140, id, body: body(8) },
        { at: 0x180, id, body: body(8) },
        { at: 0x1c0, id: LTR, body: body(4) },
        { at: 0x200, id, body: body(8) },
      ]);
      expect(listOf(view)).toEqual([
        { at: FIRST, id: DSN },
        { at: 0x1c0, id: LTR },
      ]);
      expect(view.read32(FIRST)).toBe(((0x1c0 << 20) | (1 << 16) | DSN) >>> 0);
      expect([view.read16(FIRST + 2), view.read8(FIRST + 3)]).toEqual([0x1c01, 0x1c]);
      expect(view.read32(0x1c0)).toBe((1 << 16) | LTR);
      view.write32(FIRST, 0);
      view.write8(FIRST + 3, 0x20);
      expect(view.read8(FIRST + 3)).toBe(0x1c);
    },
  );
}

test(
  'device.config.extended.unknown.each',
  'every extended capability of today that VFIO does not know is taken out of the list',
  { source: [INIT, LENGTH], ...OPTIONS, since: '6.2' },
  (t) => {
    // pci_regs.h of Linux 7.3: PCI_EXT_CAP_ID_PL_64GT.
    const LAST_ID = 0x31;
    const known = new Set(EXTENDED_PERMISSIONS.map(({ id }) => id));
    const ids = Array.from({ length: LAST_ID }, (_, index) => index + 1);
    const unknown = ids.filter((id) => !known.has(id));
    const { view } = openWith(t, [
      { at: FIRST, id: DSN, body: body(8) },
      ...unknown.map((id, index) => ({ at: 0x140 + 0x20 * index, id, body: body(12) })),
      { at: 0xf00, id: LTR, body: body(4) },
    ]);
    expect(listOf(view)).toEqual([
      { at: FIRST, id: DSN },
      { at: 0xf00, id: LTR },
    ]);
  },
);

test(
  'device.config.extended.unknown.behind-each',
  'an extended capability that VFIO does not know is taken out behind each one that it knows',
  { source: [INIT, `${CONFIG} ecap_perms[]`], ...OPTIONS, since: '6.2' },
  (t) => {
    // Vendor-specific ones say how long they are; all others count nothing.
    const VENDOR_BODY = Buffer.alloc(28).fill(0x02, 3, 4);
    const bodyOf = (id: number) => (id === VNDR || id === DVSEC ? VENDOR_BODY : Buffer.alloc(60));
    const known = EXTENDED_PERMISSIONS.map(({ id }, index) => ({ at: FIRST + 0x80 * index, id }));
    const { view } = openWith(
      t,
      known.flatMap(({ at, id }) => [
        { at, id, body: bodyOf(id) },
        { at: at + 0x40, id: PASID },
      ]),
    );
    expect(listOf(view)).toEqual(known);
    for (const { at } of known) {
      const header = view.read32(at);
      expect([view.read16(at + 2), view.read8(at + 3)]).toEqual([header >>> 16, header >>> 24]);
    }
  },
);

test(
  'device.config.extended.none-known',
  'a list of nothing but unknown extended capabilities is shown as empty',
  { source: INIT, ...OPTIONS },
  (t) => {
    const { view, hardware } = openWith(t, [
      { at: FIRST, id: PASID, body: body(4) },
      { at: 0x140, id: 0x1a5, body: body(4) },
    ]);
    expect(view.read32(FIRST)).toBe(0);
    expect([0, 1, 2, 3].map((byte) => view.read8(FIRST + byte))).toEqual([0, 0, 0, 0]);
    view.write32(FIRST, 0xffff_ffff);
    expect(view.read32(FIRST)).toBe(0);
    expect(hardware.read32(FIRST) & 0xffff).toBe(PASID);
  },
);

test(
  'device.config.extended.two-unknown-first',
  'an anchor leads past further unknown capabilities to the first known one',
  { source: INIT, ...OPTIONS },
  (t) => {
    const { view } = openWith(t, [
      { at: FIRST, id: PASID },
      { at: 0x140, id: 0x1a5 },
      { at: 0x180, id: DSN, body: body(8) },
    ]);
    expect(listOf(view)).toEqual([
      { at: FIRST, id: 0 },
      { at: 0x180, id: DSN },
    ]);
  },
);

test(
  'device.config.extended.last-place',
  'a capability at the very end of config space is shown and protected like any other',
  { source: [INIT, `${CONFIG} vfio_pci_config_rw_single()`], ...OPTIONS },
  (t) => {
    const at = 0x1000 - 8;
    const { view, hardware } = openWith(t, [
      { at: FIRST, id: DSN, body: body(8) },
      { at, id: LTR, body: body(4) },
    ]);
    const before = hardware.read(at, 8);
    expect(listOf(view)).toEqual([
      { at: FIRST, id: DSN },
      { at, id: LTR },
    ]);
    expect(view.read(at, 8)).toEqual(before);
    view.write(at, Buffer.alloc(8, 0xa5));
    view.write8(at + 7, 0xa5);
    expect(hardware.read(at, 8)).toEqual(before);
    expect(view.tryRead(at + 4, 8)).toFailWith('EFAULT');
  },
);

test(
  'device.config.extended.loop',
  'an unknown extended capability that leads back to itself does not keep the device from being opened',
  { source: `${INIT}: loops`, ...OPTIONS },
  (t) => {
    const { view, hardware } = openWith(t, [
      { at: FIRST, id: DSN, body: body(8) },
      { at: 0x140, id: PASID, body: body(4), next: 0x140 },
    ]);
    const before = hardware.read(FIRST, 12);
    expect(view.read16(FIRST)).toBe(DSN);
    expect(view.read(FIRST + 4, 8)).toEqual(before.subarray(4));
    view.write(FIRST, Buffer.alloc(12, 0xa5));
    expect(hardware.read(FIRST, 12)).toEqual(before);
  },
);

test(
  'device.config.extended.below-100',
  'an extended list that leads into the conventional space ends there, and leaves that as it is',
  { source: `${INIT}: PCI_CFG_SPACE_SIZE`, ...OPTIONS },
  (t) => {
    const conventional = () => {
      const device = t.openDevice(t.group);
      const bytes = device.config.read(0x40, FIRST - 0x40);
      device.close();
      return bytes;
    };
    const before = conventional();
    const next = 0x40;
    const { view, hardware } = openWith(t, [{ at: FIRST, id: DSN, body: body(8), next }]);
    expect(view.read32(FIRST)).toBe(((next << 20) | (1 << 16) | DSN) >>> 0);
    expect(view.read(0x40, FIRST - 0x40)).toEqual(before);
    const protectedBytes = hardware.read(FIRST, 12);
    view.write(FIRST, Buffer.alloc(12, 0xa5));
    expect(hardware.read(FIRST, 12)).toEqual(protectedBytes);
  },
);

test(
  'device.config.extended.overlap',
  'extended capabilities that overlap are both shown, and both protected up to their ends',
  { source: `${INIT}: PCI config conflict`, ...OPTIONS },
  (t) => {
    // The serial number would end behind the header of the other.
    const LATER = FIRST + 8;
    const { view, hardware } = openWith(t, [
      { at: FIRST, id: DSN, body: body(4) },
      { at: LATER, id: LTR, body: body(8) },
    ]);
    expect(listOf(view)).toEqual([
      { at: FIRST, id: DSN },
      { at: LATER, id: LTR },
    ]);
    const before = hardware.read(FIRST, 20);
    expect(view.read(FIRST, 20)).toEqual(before);
    view.write(FIRST, Buffer.from(before.map((byte) => byte ^ 0xff)));
    const wanted = Buffer.from(before.map((byte, at) => (at < 16 ? byte : byte ^ 0xff)));
    expect(hardware.read(FIRST, 20)).toEqual(wanted);
  },
);
