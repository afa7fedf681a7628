import {
  ConfigPair,
  OWN_MACHINE,
  PCI_CFG_SPACE_SIZE,
  PCI_EXP_DEVCTL,
  PCI_EXP_DEVCTL_PAYLOAD,
  PCI_EXP_DEVCTL_READRQ,
  PCI_MSI_FLAGS,
  expect,
  gapsOf,
  test,
  traceArguments,
  tracedArguments,
  type ConfigModel,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
/** What writes config space for a user; emulated devices ignore most of what it writes. */
const WRITERS = [1, 2, 4].map((width) => {
  const name = { 1: 'byte', 2: 'word', 4: 'dword' }[width]!;
  return { name: `pci_user_write_config_${name}`, width };
});
const SET_READ_REQUEST = 'pcie_set_readrq';

function open({ device, pci, defer }: TestContext): ConfigPair {
  const pair = new ConfigPair(device, pci);
  defer(() => pair.close());
  return pair;
}

const hex = (value: number) => `0x${(value >>> 0).toString(16)}`;
const written = (width: number, at: number, value: number) =>
  `${width} bytes at ${hex(at)}: ${hex(value)}`;

/** The writes that reach the PCI core while `body` runs. */
function writesOf(body: () => void): string[] {
  const names = WRITERS.map(({ name }) => name);
  return traceArguments(names, [2, 3], body).map(({ name, arguments: [at, value] }) => {
    const { width } = WRITERS.find((writer) => writer.name === name)!;
    return written(width, at!, width === 4 ? value! : value! & (2 ** (8 * width) - 1));
  });
}

/** The dwords of the header and of each capability that has rules of its own. */
function ruledDwords({ structures }: ConfigModel): number[] {
  return structures
    .filter(({ access }) => access !== 'raw')
    .flatMap(({ start, length }) =>
      Array.from({ length: Math.floor(length / 4) }, (_, index) => start + 4 * index),
    );
}

/** The dwords of the conventional space that belong to nobody. */
function gapDwords(model: ConfigModel): number[] {
  return gapsOf(model).flatMap(([start, end]) => {
    const dwords: number[] = [];
    for (let at = (start + 3) & ~3; at + 4 <= Math.min(end, PCI_CFG_SPACE_SIZE); at += 4) {
      dwords.push(at);
    }
    return dwords;
  });
}

test(
  'device.config.written',
  'a write sends to the hardware the bits that its permissions release, the others as they are there',
  {
    source: [
      `${CONFIG} vfio_default_config_write()`,
      `${CONFIG} vfio_raw_config_write()`,
      `${CONFIG} vfio_msi_config_write()`,
    ],
    devices: ['edu', 'e1000e', 'igb', 'virtio-net', 'vmxnet3', 'xhci-msi', 'many-vectors'],
    needs: [OWN_MACHINE, tracedArguments(...WRITERS.map(({ name }) => name))],
  },
  (context) => {
    const { view, hardware, model, triggers } = open(context);
    // The flags of MSI reach the hardware as the kernel has checked them.
    const messages = model.structures.find(({ name }) => name === 'MSI');
    const wanted: string[] = [];
    const shown = view.readAll();
    const got = writesOf(() => {
      for (const pattern of [0xffff_ffff, 0, 0x5a5a_5a5a]) {
        for (const at of ruledDwords(model)) {
          const kept = triggers.readUInt32LE(at);
          const released = model.writable.readUInt32LE(at) & ~model.virtual.readUInt32LE(at);
          const value = (pattern & ~kept) | (shown.readUInt32LE(at) & kept);
          const before = hardware.read32(at);
          if (released !== 0) {
            wanted.push(written(4, at, (value & released) | (before & ~released)));
          }
          if (at === messages?.start) {
            wanted.push(written(2, at + PCI_MSI_FLAGS, shown.readUInt16LE(at + PCI_MSI_FLAGS)));
          }
          view.write32(at, value >>> 0);
        }
      }
      for (const at of gapDwords(model)) {
        const before = hardware.read32(at);
        wanted.push(written(4, at, before ^ 0xa5a5_a5a5), written(4, at, before));
        view.write32(at, (before ^ 0xa5a5_a5a5) >>> 0);
        view.write32(at, before);
      }
    });
    for (const at of ruledDwords(model)) view.write32(at, shown.readUInt32LE(at));
    expect(got).toEqual(wanted);
  },
);

test(
  'device.config.exp.read-request.asked',
  'a read request size is asked of the PCI core when it changes, and never one below the payload size',
  {
    source: `${CONFIG} vfio_exp_config_write()`,
    devices: ['e1000e', 'igb', 'virtio-net', 'many-vectors'],
    needs: [OWN_MACHINE, tracedArguments(SET_READ_REQUEST)],
  },
  (context) => {
    const pair = open(context);
    const { view, hardware } = pair;
    const control = pair.structure('EXP').start + PCI_EXP_DEVCTL;
    const payload = 128 << ((hardware.read16(control) & PCI_EXP_DEVCTL_PAYLOAD) >> 5);
    const first = view.read16(control);
    const codeOf = (value: number) => (value & PCI_EXP_DEVCTL_READRQ) >> 12;
    const wanted: number[] = [];
    let last = codeOf(first);
    const calls = traceArguments([SET_READ_REQUEST], [2], () => {
      for (const code of [1, 1, 2, 5, 0, 0, 3, codeOf(first)]) {
        if (code !== last) wanted.push(Math.max(128 << code, payload));
        last = code;
        view.write16(control, (first & ~PCI_EXP_DEVCTL_READRQ) | (code << 12));
        view.write16(control, view.read16(control) ^ PCI_EXP_DEVCTL_PAYLOAD);
        view.write8(control, first & 0xff);
      }
    });
    expect(calls.map((call) => call.arguments[0])).toEqual(wanted);
  },
);
