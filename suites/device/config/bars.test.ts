import {
  ConfigPair,
  OWN_MACHINE,
  PCI_BASE_ADDRESS_0,
  PCI_BASE_ADDRESS_5,
  PCI_BASE_ADDRESS_MEM_PREFETCH,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_BASE_ADDRESS_SPACE_IO,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  PCI_ROM_ADDRESS,
  PCI_ROM_ADDRESS_ENABLE,
  expect,
  test,
  type PciFunction,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
/** 32-bit memory, 64-bit memory with and without prefetch, I/O, ROM, and slots without a BAR. */
const KINDS = ['edu', 'pci-testdev', 'vga', 'ivshmem', 'e1000e', 'nvme'];

const IORESOURCE_IO = 0x100n;
const IORESOURCE_PREFETCH = 0x2000n;
const IORESOURCE_MEM_64 = 0x100000n;

interface Bar {
  index: number;
  /** Offset of its register in config space. */
  at: number;
  size: bigint;
  is64: boolean;
  flags: number;
}

/** The BARs that Linux gave an address, and the registers that belong to none. */
function barsOf(pci: PciFunction): { bars: Bar[]; unused: number[] } {
  const resources = pci.resources();
  const bars: Bar[] = [];
  const unused: number[] = [];
  for (let index = 0; index < 6; index++) {
    const { start, size, flags } = resources[index]!;
    const at = PCI_BASE_ADDRESS_0 + index * 4;
    if (start === 0n) {
      unused.push(at);
      continue;
    }
    const is64 = (flags & IORESOURCE_MEM_64) !== 0n;
    const type =
      (flags & IORESOURCE_IO) !== 0n
        ? PCI_BASE_ADDRESS_SPACE_IO
        : (flags & IORESOURCE_PREFETCH ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0) |
          (is64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0);
    bars.push({ index, at, size, is64, flags: type });
    if (is64) index++;
  }
  return { bars, unused };
}

function open({ device, pci, defer }: TestContext): ConfigPair {
  const pair = new ConfigPair(device, pci);
  defer(() => pair.close());
  return pair;
}

const u32 = (value: bigint) => Number(value & 0xffff_ffffn);

test(
  'device.config.bar.initial',
  'BARs first read as the addresses that the hardware has, with their kind in the low bits',
  { source: `${CONFIG} vfio_config_init()`, devices: KINDS },
  (context) => {
    const { view, hardware } = open(context);
    const { bars, unused } = barsOf(context.pci);
    for (const { at, is64, flags } of bars) {
      expect(view.read32(at)).toBe(hardware.read32(at));
      expect(view.read32(at) & (flags & 1 ? 3 : 0xf)).toBe(flags);
      if (is64) expect(view.read32(at + 4)).toBe(hardware.read32(at + 4));
    }
    for (const at of unused) expect(view.read32(at)).toBe(0);
  },
);

test(
  'device.config.bar.size',
  'all ones written to a BAR read back as its size mask and kind, in both halves of a 64-bit one',
  { source: `${CONFIG} vfio_bar_fixup()`, devices: KINDS, peer: ['S1'] },
  (context) => {
    const { view, hardware } = open(context);
    const before = hardware.readAll();
    const shown = view.readAll();
    for (const { at, size, is64, flags } of barsOf(context.pci).bars) {
      const mask = ~(size - 1n);
      view.write32(at, 0xffff_ffff);
      expect(view.read32(at), `BAR at ${at}`).toBe(u32(mask) + flags);
      if (is64) {
        expect(view.read32(at + 4), 'the upper half is as it was').toBe(shown.readUInt32LE(at + 4));
        view.write32(at + 4, 0xffff_ffff);
        expect(view.read32(at + 4), `upper half at ${at}`).toBe(u32(mask >> 32n));
      }
    }
    expect(hardware.readAll(), 'sizing happens in the copy only').toEqual(before);
    view.write(PCI_BASE_ADDRESS_0, shown.subarray(PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_5 + 4));
    expect(view.readAll()).toEqual(shown);
  },
);

test(
  'device.config.bar.address',
  'an address written to a BAR reads back without the bits below its size, in every width',
  { source: `${CONFIG} vfio_bar_fixup()`, devices: KINDS },
  (context) => {
    const { view, hardware } = open(context);
    const before = hardware.readAll();
    for (const { at, size, is64, flags } of barsOf(context.pci).bars) {
      const mask = ~(size - 1n);
      const address = 0x5a5a_5a5a_a5a5_a5a5n;
      const low = u32(address & mask) + flags;
      view.write32(at, u32(address));
      expect(view.read32(at)).toBe(low);
      view.write32(at, 0);
      expect(view.read32(at)).toBe(flags);
      view.write16(at + 2, 0xa5a5);
      view.write16(at, 0xa5a5);
      expect(view.read32(at)).toBe(low);
      view.write32(at, 0);
      for (let byte = 0; byte < 4; byte++) view.write8(at + byte, 0xa5);
      expect(view.read32(at)).toBe(low);
      expect(view.read8(at)).toBe(low & 0xff);
      expect(view.read16(at + 2)).toBe(low >>> 16);
      if (is64) {
        view.write64(at, address);
        expect(view.read64(at)).toBe((address & mask & ~0xfn) | BigInt(flags));
      }
    }
    expect(hardware.readAll()).toEqual(before);
  },
);

test(
  'device.config.bar.unimplemented',
  'a BAR that does not exist reads as zero whatever is written to it',
  {
    source: `${CONFIG} vfio_bar_fixup()`,
    devices: ['edu', 'vga', 'nvme', 'virtio-net'],
  },
  (context) => {
    const { view, hardware } = open(context);
    const before = hardware.readAll();
    const { unused } = barsOf(context.pci);
    expect(unused.length).toBeGreaterThan(0);
    for (const at of unused) {
      view.write32(at, 0xffff_ffff);
      expect(view.read32(at)).toBe(0);
      view.write8(at + 3, 0x12);
      expect(view.read8(at + 3)).toBe(0);
    }
    expect(hardware.readAll()).toEqual(before);
  },
);

test(
  'device.config.bar.rom-size',
  'the ROM address register tells the size of the ROM and keeps its enable bit, in the copy only',
  {
    source: `${CONFIG} vfio_bar_fixup()`,
    devices: ['vga', 'e1000e', 'virtio-net'],
  },
  (context) => {
    const { view, hardware } = open(context);
    const before = hardware.readAll();
    const { size } = context.pci.resources()[6]!;
    expect(size).toBeGreaterThan(0n);
    const mask = u32(~(size - 1n));
    const first = view.read32(PCI_ROM_ADDRESS);
    expect(first & ~PCI_ROM_ADDRESS_ENABLE).toBe(
      hardware.read32(PCI_ROM_ADDRESS) & mask & ~PCI_ROM_ADDRESS_ENABLE,
    );
    view.write32(PCI_ROM_ADDRESS, 0xffff_ffff);
    expect(view.read32(PCI_ROM_ADDRESS)).toBe(mask + PCI_ROM_ADDRESS_ENABLE);
    view.write32(PCI_ROM_ADDRESS, 0xffff_fffe);
    expect(view.read32(PCI_ROM_ADDRESS)).toBe(mask);
    view.write32(PCI_ROM_ADDRESS, 0xa5a5_a5a5);
    expect(view.read32(PCI_ROM_ADDRESS)).toBe(((0xa5a5_a5a5 & mask) >>> 0) + 1);
    view.write8(PCI_ROM_ADDRESS, 0);
    expect(view.read32(PCI_ROM_ADDRESS)).toBe((0xa5a5_a500 & mask) >>> 0);
    view.write32(PCI_ROM_ADDRESS, first);
    expect(hardware.readAll()).toEqual(before);
  },
);

test(
  'device.config.bar.no-rom',
  'the ROM address register of a device without a ROM reads as zero',
  {
    source: `${CONFIG} vfio_bar_fixup()`,
    devices: ['edu', 'pci-testdev', 'igb'],
  },
  (context) => {
    const { view, hardware } = open(context);
    expect(view.read32(PCI_ROM_ADDRESS)).toBe(0);
    view.write32(PCI_ROM_ADDRESS, 0xffff_ffff);
    expect(view.read32(PCI_ROM_ADDRESS)).toBe(0);
    for (let byte = 0; byte < 4; byte++) {
      view.write8(PCI_ROM_ADDRESS + byte, 0xff);
      expect(view.read8(PCI_ROM_ADDRESS + byte)).toBe(0);
    }
    expect(hardware.read32(PCI_ROM_ADDRESS)).toBe(0);
  },
);

test(
  'device.config.bar.decoding',
  'an address written to a BAR moves nothing: the device answers where it was',
  { source: `${CONFIG} init_pci_cap_basic_perm()`, devices: ['edu', 'e1000e', 'nvme'] },
  ({ device }) => {
    const { config } = device;
    const bar = device.region(0);
    const first = bar.read32(0);
    config.write32(PCI_BASE_ADDRESS_0, 0xffff_ffff);
    expect(bar.read32(0)).toBe(first);
    config.write32(PCI_BASE_ADDRESS_0, 0);
    expect(bar.read32(0)).toBe(first);
    expect(device.regionInfo(0).size).toBe(bar.info.size);
  },
);

test(
  'device.config.bar.backdoor-reset',
  'BARs that the hardware lost are restored by the next write to COMMAND',
  {
    source: `${CONFIG} vfio_need_bar_restore(), vfio_bar_restore()`,
    devices: ['edu', 'pci-testdev', 'vga', 'e1000e', 'nvme', 'ahci'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware } = open(context);
    const before = hardware.readAll();
    const command = view.read16(PCI_COMMAND);
    const restored = (): void => {
      view.write16(PCI_COMMAND, command);
      const now = hardware.readAll();
      expect(now.subarray(0x10, 0x34)).toEqual(before.subarray(0x10, 0x34));
      expect(now).toEqual(before);
    };
    for (let at = PCI_BASE_ADDRESS_0; at <= PCI_BASE_ADDRESS_5; at += 4) {
      if (before.readUInt32LE(at) === 0) continue;
      const shown = view.readAll();
      hardware.write16(PCI_COMMAND, 0);
      hardware.write32(at, 0);
      hardware.write16(PCI_COMMAND, before.readUInt16LE(PCI_COMMAND));
      if (hardware.read32(at) !== before.readUInt32LE(at)) {
        expect(view.read32(at), 'the copy does not follow').toBe(shown.readUInt32LE(at));
      }
      restored();
    }
    hardware.write16(PCI_COMMAND, 0);
    for (let at = PCI_BASE_ADDRESS_0; at <= PCI_BASE_ADDRESS_5; at += 4) hardware.write32(at, 0);
    hardware.write32(PCI_ROM_ADDRESS, 0);
    restored();
  },
);

test(
  'device.config.bar.decoding-lost',
  'memory decoding that the hardware lost behind the user comes back with the ROM address',
  {
    source: `${CONFIG} vfio_basic_config_write(), vfio_bar_restore()`,
    devices: ['e1000e', 'virtio-net', 'vga'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware } = open(context);
    const before = hardware.readAll();
    const command = view.read16(PCI_COMMAND);
    expect(command & PCI_COMMAND_MEMORY).toBe(PCI_COMMAND_MEMORY);
    hardware.write16(PCI_COMMAND, 0);
    // All BARs are as they should be: only the lost enable bit tells of a reset.
    hardware.write32(PCI_ROM_ADDRESS, 0);
    view.write16(PCI_COMMAND, command);
    expect(hardware.readAll()).toEqual(before);
  },
);

test(
  'device.config.bar.io-decoding-lost',
  'I/O decoding that the hardware lost behind the user comes back with the ROM address',
  {
    source: `${CONFIG} vfio_basic_config_write(), vfio_bar_restore()`,
    device: 'e1000e',
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware } = open(context);
    const decoding = view.read16(PCI_COMMAND) | PCI_COMMAND_MEMORY | PCI_COMMAND_IO;
    view.write16(PCI_COMMAND, decoding);
    const before = hardware.readAll();
    hardware.write16(PCI_COMMAND, decoding & ~PCI_COMMAND_IO);
    hardware.write32(PCI_ROM_ADDRESS, 0);
    view.write16(PCI_COMMAND, decoding);
    expect(hardware.readAll()).toEqual(before);
  },
);

test(
  'device.config.bar.no-needless-restore',
  'a write to COMMAND leaves the ROM address alone while decoding and BARs are as they should be',
  {
    source: `${CONFIG} vfio_basic_config_write()`,
    devices: ['e1000e', 'virtio-net'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware } = open(context);
    const rom = hardware.read32(PCI_ROM_ADDRESS);
    const command = view.read16(PCI_COMMAND);
    hardware.write32(PCI_ROM_ADDRESS, 0);
    view.write16(PCI_COMMAND, command);
    expect(hardware.read32(PCI_ROM_ADDRESS)).toBe(0);
    view.write16(PCI_COMMAND, 0);
    expect(hardware.read32(PCI_ROM_ADDRESS)).toBe(0);
    view.write16(PCI_COMMAND, command);
    expect(hardware.read32(PCI_ROM_ADDRESS), 'disabled by the user: nothing was lost').toBe(0);
    hardware.write32(PCI_ROM_ADDRESS, rom);
  },
);
