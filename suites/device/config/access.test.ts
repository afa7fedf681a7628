import {
  ConfigPair,
  OWN_MACHINE,
  PCI_CFG_SPACE_EXP_SIZE,
  PCI_CFG_SPACE_SIZE,
  Program,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
  expect,
  gapsOf,
  sys,
  test,
  type Device,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const KINDS = ['edu', 'pci-testdev', 'e1000e', 'virtio-net'];

function open({ device, pci, defer }: TestContext): ConfigPair {
  const pair = new ConfigPair(device, pci);
  defer(() => pair.close());
  return pair;
}

interface Place {
  at: number;
  length: number;
}

/** One pread each, all in one program; what they returned and read. */
function readEach(device: Device, places: readonly Place[]): { result: number; bytes: Buffer }[] {
  const base = device.config.info.offset;
  const program = new Program({ ops: places.length, arena: places.length * 16 });
  const reads = places.map(({ at, length }) => {
    const data = program.data(Buffer.alloc(length, 0xee));
    return { data, ref: program.syscall('pread', device.fd, data, length, base + BigInt(at)) };
  });
  program.run();
  return reads.map(({ data, ref }) => ({ result: program.result(ref), bytes: data.bytes }));
}

/** The places whose reads are not answered with what is there in the whole. */
function misread(device: Device, whole: Buffer, places: readonly Place[]): Place[] {
  const answers = readEach(device, places);
  return places.filter(
    ({ at, length }, i) =>
      answers[i]!.result !== length || !answers[i]!.bytes.equals(whole.subarray(at, at + length)),
  );
}

test(
  'device.config.region',
  'the config region is as large as the config space and can be read and written, not mapped',
  {
    covers: [VFIO_DEVICE_GET_REGION_INFO],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_region_info()',
    devices: KINDS,
    peer: ['S1', 'L4'],
  },
  ({ device, pci }) => {
    const { flags, size } = device.regionInfo(VFIO_PCI_CONFIG_REGION_INDEX);
    expect(flags).toBe(VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
    expect([PCI_CFG_SPACE_SIZE, PCI_CFG_SPACE_EXP_SIZE]).toContain(Number(size));
    expect(Number(size)).toBe(pci.config().length);
  },
);

test(
  'device.config.whole',
  'the whole space read at once is the hardware with the virtual bits in it',
  { source: `${CONFIG} vfio_pci_config_rw()`, devices: KINDS, peer: ['S1'] },
  (context) => {
    const { view, hardware, model } = open(context);
    const shown = view.readAll();
    const real = hardware.readAll();
    const mismatches = [...shown.keys()].filter(
      (at) => ((shown[at]! ^ real[at]!) & ~model.virtual[at]! & 0xff) !== 0,
    );
    expect(mismatches).toEqual([]);
  },
);

test(
  'device.config.every-width',
  'a read of any length at any offset gives the bytes of the whole, and no byte beyond its end',
  { source: `${CONFIG} vfio_pci_config_rw_single()`, devices: KINDS, peer: ['L10'] },
  ({ device }) => {
    const whole = device.config.readAll();
    const places: Place[] = [];
    for (let at = 0; at < 0x100; at++) {
      for (const length of [1, 2, 3, 4, 5, 7, 8]) {
        if (at + length <= 0x100) places.push({ at, length });
      }
    }
    expect(misread(device, whole, places)).toEqual([]);
  },
);

test(
  'device.config.every-width-extended',
  'a read of any length around the extended capabilities gives the bytes of the whole',
  {
    source: `${CONFIG} vfio_pci_config_rw_single()`,
    devices: ['e1000e', 'igb', 'virtio-net', 'nvme'],
  },
  ({ device }) => {
    const whole = device.config.readAll();
    const places: Place[] = [];
    for (let at = 0xfa; at < 0x1a8; at++) {
      for (const length of [1, 2, 3, 4, 6, 9]) places.push({ at, length });
    }
    expect(misread(device, whole, places)).toEqual([]);
  },
);

test(
  'device.config.bounds',
  'a read or write that ends beyond the space is refused whole, the last byte can be reached',
  { source: `${CONFIG} vfio_pci_config_rw_single()`, devices: KINDS },
  (context) => {
    const { view, hardware } = open(context);
    const { size } = view;
    const before = hardware.readAll();
    const shown = view.readAll();
    for (const length of [1, 2, 4, 8]) {
      expect(view.tryRead(size - length, length)).toSucceed(length);
      expect(view.tryRead(size - length, length).value).toEqual(shown.subarray(size - length));
      expect(view.tryRead(size - length + 1, length)).toFailWith('EFAULT');
      expect(view.tryWrite(size - length + 1, Buffer.alloc(length, 0xa5))).toFailWith('EFAULT');
      expect(view.tryRead(size, length)).toFailWith('EFAULT');
      expect(view.tryWrite(size, Buffer.alloc(length, 0xa5))).toFailWith('EFAULT');
    }
    expect(view.tryRead(0, size + 1)).toFailWith('EFAULT');
    expect(view.tryRead(1, size)).toFailWith('EFAULT');
    expect(view.tryWrite(0, Buffer.alloc(size + 1))).toFailWith('EFAULT');
    expect(view.tryRead(size + 0x1000, 4)).toFailWith('EFAULT');
    expect(view.tryRead((1n << 40n) - 4n, 4)).toFailWith('EFAULT');
    expect(hardware.readAll()).toEqual(before);
    expect(view.readAll()).toEqual(shown);
  },
);

test(
  'device.config.last-byte',
  'a write to the last bytes of the space reaches them and no others',
  {
    source: `${CONFIG} vfio_pci_config_rw_single()`,
    devices: ['pci-testdev', 'edu', 'nvme', 'e1000e'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware } = open(context);
    const before = hardware.readAll();
    for (const length of [1, 2, 4, 7]) {
      const at = view.size - length;
      const bytes = Buffer.alloc(length, 0xa5);
      expect(view.tryWrite(at, bytes)).toSucceed(length);
      expect(hardware.readAll()).toEqual(Buffer.concat([before.subarray(0, at), bytes]));
      view.write(at, before.subarray(at));
    }
    expect(hardware.readAll()).toEqual(before);
  },
);

test(
  'device.config.empty',
  'a read or write of no bytes does nothing, wherever it is',
  {
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_read()',
    devices: ['edu', 'igb'],
  },
  ({ device }) => {
    const { config } = device;
    for (const at of [0, 5, config.size - 1, config.size, config.size + 64]) {
      expect(config.tryRead(at, 0)).toSucceed(0);
      expect(config.tryWrite(at, Buffer.alloc(0))).toSucceed(0);
    }
  },
);

test(
  'device.config.bad-address',
  'a buffer that cannot be accessed is refused with EFAULT and nothing is written',
  {
    source: `${CONFIG} vfio_pci_config_rw_single()`,
    devices: ['edu', 'nvme'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware, model } = open(context);
    const { device } = context;
    const [start] = gapsOf(model).find(([from, to]) => to - from >= 8)!;
    const before = hardware.readAll();
    for (const at of [0, 0x10, 0x3c, start]) {
      const offset = view.info.offset + BigInt(at);
      expect(sys.call('pread', device.fd, 16, 4, offset)).toBe(-14);
      expect(sys.call('pwrite', device.fd, 16, 4, offset)).toBe(-14);
    }
    expect(hardware.readAll()).toEqual(before);
  },
);

test(
  'device.config.gaps',
  'bytes in no capability are read and written in the hardware as they are',
  {
    source: `${CONFIG} unassigned_perms`,
    devices: [...KINDS, 'igb', 'nvme', 'vmxnet3'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware, model } = open(context);
    const gaps = gapsOf(model);
    expect(gaps.length).toBeGreaterThan(0);
    for (const [start, end] of gaps) {
      const before = hardware.read(start, end - start);
      const pattern = Buffer.from(before.map((byte, at) => byte ^ (at + start + 1)));
      hardware.write(start, pattern);
      const wanted = hardware.read(start, end - start);
      expect(view.read(start, end - start)).toEqual(wanted);
      hardware.write(start, before);
      view.write(start, pattern);
      const got = hardware.read(start, end - start);
      hardware.write(start, before);
      expect(got, `gap at 0x${start.toString(16)}`).toEqual(wanted);
    }
  },
);

test(
  'device.config.write-widths',
  'a write of any length at any alignment changes exactly its bytes',
  {
    source: `${CONFIG} vfio_pci_config_rw_single()`,
    devices: ['pci-testdev', 'nvme', 'edu'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware, model } = open(context);
    // The end of the largest gap: QEMU lets all of it be written.
    const [, end] = gapsOf(model).reduce((a, b) => (b[1] - b[0] > a[1] - a[0] ? b : a));
    const base = end - 32;
    const before = hardware.read(base, 20);
    for (let at = 0; at < 4; at++) {
      for (const length of [1, 2, 3, 4, 5, 6, 7, 8, 9, 13]) {
        const bytes = Buffer.from(Array.from({ length }, (_, i) => 0x81 + i));
        expect(view.tryWrite(base + at, bytes)).toSucceed(length);
        const wanted = Buffer.from(before);
        bytes.copy(wanted, at);
        expect(hardware.read(base, 20), `${length} bytes at ${at}`).toEqual(wanted);
        hardware.write(base, before);
      }
    }
  },
);

test(
  'device.config.straddle',
  'a write across a capability and the gap behind it obeys the rules of each',
  {
    source: `${CONFIG} vfio_pci_cap_remaining_dword()`,
    devices: ['edu', 'e1000e', 'igb', 'vmxnet3'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware, model } = open(context);
    // MSI without or with mask bits ends in the middle of a dword.
    const msi = model.structures.find(({ name }) => name === 'MSI')!;
    const end = msi.start + msi.length;
    const shown = view.read(end - 2, 8);
    const before = hardware.read(end - 2, 8);
    const bytes = Buffer.from([0x11, 0x22, 0x33, 0x44, 0x55, 0x66]);
    expect(view.tryWrite(end - 2, bytes)).toSucceed(6);
    // The pending bits of a masking MSI are the device's, the data of another is virtual.
    const isVirtual = msi.length !== 24;
    const pick = (inside: Buffer, rest: Buffer) =>
      Buffer.from(
        bytes.map((byte, i) =>
          i < 2 ? inside[i]! : model.raw[end - 2 + i] === 0xff ? byte : rest[i]!,
        ),
      );
    expect(view.read(end - 2, 6)).toEqual(pick(isVirtual ? bytes : before, shown));
    expect(hardware.read(end - 2, 6)).toEqual(pick(before, before));
    view.write(end - 2, shown);
    expect(hardware.read(end - 2, 8)).toEqual(before);
  },
);

test(
  'device.config.straddle-header',
  'a write across virtual, read-only and hardware registers of the header obeys the rules of each',
  {
    source: `${CONFIG} vfio_default_config_write()`,
    devices: ['edu', 'pci-testdev', 'e1000e', 'nvme'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware } = open(context);
    const shown = view.read(0x3a, 6);
    const before = hardware.read(0, 0x40);
    // 0x3a, 0x3b are reserved and read-only; then INTERRUPT_LINE, PIN, MIN_GNT, MAX_LAT.
    view.write(0x3a, Buffer.from([0xff, 0xff, 0x77, 0xff, 0xff, 0xff]));
    const wanted = Buffer.from(shown);
    wanted[2] = 0x77;
    expect(view.read(0x3a, 6)).toEqual(wanted);
    expect(hardware.read(0, 0x40)).toEqual(before);
    view.write(0x3a, shown);
    // REVISION and CLASS, then CACHE_LINE, LATENCY, HEADER_TYPE, BIST.
    view.write(0x08, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x20, 0x00, 0xff, 0x00]));
    const header = Buffer.from(before);
    header[0x0c] = 0x20;
    expect(hardware.read(0, 0x40)).toEqual(header);
    view.write8(0x0c, before[0x0c]!);
    expect(hardware.read(0, 0x40)).toEqual(before);
  },
);
