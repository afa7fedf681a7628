import {
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_PCI_VGA_REGION_INDEX,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
  PCI_COMMAND_IO,
  enableDevice,
  expect,
  setCommand,
  sys,
  test,
  type Device,
  type Region,
} from '../../../harness/testing/index.ts';

const VGA_RW = 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_vga_rw()';
const SEQUENCER = 0x3c4;
const GRAPHICS = 0x3ce;
const CRTC = 0x3d4;

/** The VGA region of a device that decodes memory and I/O. */
function vgaRegion(device: Device): Region {
  enableDevice(device);
  setCommand(device, { set: PCI_COMMAND_IO });
  return device.region(VFIO_PCI_VGA_REGION_INDEX);
}

/** Writes a register behind an index register and the data register next to it. */
function setIndexed(vga: Region, port: number, index: number, value: number): void {
  vga.write8(port, index);
  vga.write8(port + 1, value);
}

test(
  'device.vga.info',
  'a VGA controller has a ninth region for the legacy addresses',
  {
    covers: [VFIO_DEVICE_GET_REGION_INFO.value('VFIO_PCI_VGA_REGION_INDEX')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_region_info()',
    device: 'vga',
  },
  ({ device }) => {
    expect(device.regionInfo(VFIO_PCI_VGA_REGION_INDEX)).toMatchObject({
      flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
      size: 0xc0000n,
      offset: 8n << 40n,
      capabilities: [],
    });
  },
);

test(
  'device.vga.ports',
  'the VGA registers are reached through the region at their port numbers',
  { covers: [], source: VGA_RW, device: 'vga' },
  ({ device }) => {
    const vga = vgaRegion(device);
    for (const value of [0x0a, 0x05, 0x0f]) {
      setIndexed(vga, SEQUENCER, 2, value);
      expect([vga.read8(SEQUENCER), vga.read8(SEQUENCER + 1)]).toEqual([2, value]);
    }
    // One access of 16 bits writes index and data.
    vga.write16(SEQUENCER, 0x0c02);
    expect([vga.read8(SEQUENCER), vga.read8(SEQUENCER + 1)]).toEqual([2, 0x0c]);
    setIndexed(vga, SEQUENCER, 2, 0x0f);
  },
);

test(
  'device.vga.crtc',
  'the CRTC answers at 0x3b4 for monochrome and at 0x3d4 for colour, each by its own port',
  { covers: [], source: VGA_RW, device: 'vga' },
  ({ device }) => {
    const vga = vgaRegion(device);
    const miscellaneous = vga.read8(0x3cc);
    const CURSOR_LOW = 0x0f;
    vga.write8(0x3c2, miscellaneous | 1);
    setIndexed(vga, CRTC, CURSOR_LOW, 0x5a);
    expect([vga.read8(CRTC), vga.read8(CRTC + 1)]).toEqual([CURSOR_LOW, 0x5a]);
    expect(vga.read8(0x3b4)).toBe(0xff);
    vga.write8(0x3c2, miscellaneous & ~1);
    setIndexed(vga, 0x3b4, CURSOR_LOW, 0xa5);
    expect([vga.read8(0x3b4), vga.read8(0x3b5)]).toEqual([CURSOR_LOW, 0xa5]);
    expect(vga.read8(CRTC)).toBe(0xff);
    vga.write8(0x3c2, miscellaneous);
  },
);

test(
  'device.vga.memory',
  'the legacy frame buffer is reached at 0xa0000 and shows the same memory as BAR 0',
  { covers: [], source: VGA_RW, device: 'vga' },
  ({ device, defer }) => {
    const vga = vgaRegion(device);
    const frame = device.region(0);
    // Chain 4, all planes, 128 KiB at 0xa0000, no set/reset, write mode 0: bytes go straight to memory.
    const settings: [number, number, number][] = [
      [SEQUENCER, 2, 0x0f],
      [SEQUENCER, 4, 0x0e],
      [GRAPHICS, 1, 0],
      [GRAPHICS, 3, 0],
      [GRAPHICS, 5, 0],
      [GRAPHICS, 6, 0x01],
      [GRAPHICS, 8, 0xff],
    ];
    for (const [port, index, value] of settings) {
      vga.write8(port, index);
      const before = vga.read8(port + 1);
      defer(() => setIndexed(vga, port, index, before));
      vga.write8(port + 1, value);
    }
    for (const offset of [0, 0x1234, 0xfffc]) {
      vga.write32(0xa0000 + offset, 0x4d3c_2b1a);
      expect(vga.read32(0xa0000 + offset)).toBe(0x4d3c_2b1a);
      expect(frame.read32(offset)).toBe(0x4d3c_2b1a);
      frame.write32(offset, 0x1122_3344);
      expect(vga.read32(0xa0000 + offset)).toBe(0x1122_3344);
      expect(vga.read8(0xa0000 + offset + 1)).toBe(0x33);
    }
  },
);

test(
  'device.vga.holes',
  'legacy addresses that are not VGA are refused',
  { covers: [], source: VGA_RW, device: 'vga' },
  ({ device }) => {
    const vga = vgaRegion(device);
    for (const offset of [
      0, 0x3af, 0x3bc, 0x3bf, 0x3e0, 0x400, 0x9ffff, 0xc0000, 0xfffff, 0x1_000a_0000,
    ]) {
      expect(vga.tryRead(offset, 1), `read at ${offset}`).toFailWith('EINVAL');
      expect(vga.tryWrite(offset, Buffer.alloc(1)), `write at ${offset}`).toFailWith('EINVAL');
    }
    for (const offset of [0x3b0, 0x3bb, 0x3c0, 0x3df, 0xa0000, 0xbffff]) {
      expect(vga.tryRead(offset, 1), `read at ${offset}`).toSucceed(1);
    }
  },
);

test(
  'device.vga.cut',
  'an access is cut at the end of the range in which it begins',
  { covers: [], source: VGA_RW, device: 'vga' },
  ({ device }) => {
    const vga = vgaRegion(device);
    expect(vga.tryRead(0x3b8, 16)).toSucceed(4);
    expect(vga.tryRead(0x3dc, 16)).toSucceed(4);
    expect(vga.tryRead(0xbfff8, 64)).toSucceed(8);
    expect(vga.tryRead(0xa0000, 8)).toSucceed(8);
  },
);

test(
  'device.vga.memory-disabled',
  'VGA ports need neither memory decoding nor a BAR: they answer while memory is disabled',
  { covers: [], source: `${VGA_RW}: test_mem is false`, device: 'vga' },
  ({ device }) => {
    const vga = vgaRegion(device);
    setCommand(device, { clear: 2 });
    expect(vga.tryRead(SEQUENCER, 1)).toSucceed(1);
    expect(device.region(0).tryRead(0, 4)).toFailWith('EIO');
    setCommand(device, { set: 2 });
  },
);

test(
  'device.vga.arbiter',
  'an access holds the legacy addresses of the VGA arbiter no longer than it lasts, refused or not',
  { covers: [], source: `${VGA_RW}: vga_put()`, device: 'vga' },
  ({ device, defer }) => {
    const vga = vgaRegion(device);
    const arbiter = sys.open('/dev/vga_arbiter', 2);
    defer(() => sys.close(arbiter));
    // Documentation/gpu/vgaarbiter.rst: what is held, and how often as I/O and as memory.
    const held = () => {
      const text = Buffer.alloc(256);
      expect(sys.read(arbiter, text)).toBeGreaterThan(0);
      return /locks=[^,\n]*/.exec(text.toString('latin1'))?.[0];
    };
    const before = held();
    expect(before).toMatch(/^locks=/);
    vga.read8(0x3cc);
    vga.read32(0xa0000);
    expect(vga.tryWrite(0x3bc, Buffer.alloc(1))).toFailWith('EINVAL');
    expect(sys.call('pread', device.fd, 16, 4, vga.info.offset + 0xa0000n)).toBe(-14);
    expect(held()).toBe(before);
  },
);
