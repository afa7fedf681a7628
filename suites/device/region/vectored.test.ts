import {
  OWN_MACHINE,
  PCI_COMMAND_IO,
  Program,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_ROM_REGION_INDEX,
  VFIO_PCI_VGA_REGION_INDEX,
  enableDevice,
  expect,
  setCommand,
  test,
  type Device,
  type Region,
} from '../../../harness/testing/index.ts';

const SOURCE = [
  'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_bar_rw(): *ppos',
  'drivers/vfio/pci/vfio_pci_config.c vfio_pci_config_rw(): *ppos',
];
/** Lengths of the buffers of one call: no boundary falls on one of the region's. */
const PIECES = [3, 1, 4, 7, 1, 8];
const TOTAL = PIECES.reduce((a, b) => a + b);

/** One preadv or pwritev of a region: each buffer is a call of its own for the driver, at the position that the last one left. */
function vectored(
  name: 'preadv' | 'pwritev',
  { fd }: Device,
  region: Region,
  offset: number,
  bytes: Buffer,
): { result: number; bytes: Buffer } {
  const program = new Program();
  const vector = program.data(16 * PIECES.length);
  let from = 0;
  const pieces = PIECES.map((length, index) => {
    const piece = program.data(bytes.subarray(from, from + length));
    from += length;
    vector.bytes.writeBigUInt64LE(BigInt(length), 16 * index + 8);
    program.store(64, vector.at(16 * index), piece);
    return piece;
  });
  const position = region.info.offset + BigInt(offset);
  const call = program.syscall(name, fd, vector, PIECES.length, position, 0);
  program.run();
  return { result: program.result(call), bytes: Buffer.concat(pieces.map((piece) => piece.bytes)) };
}

/** Where to read: a region and an offset whose bytes stay as they are. */
const PLACES: Readonly<Record<string, { region: number; offset: number }[]>> = {
  e1000e: [
    { region: VFIO_PCI_CONFIG_REGION_INDEX, offset: 0xc1 },
    { region: VFIO_PCI_CONFIG_REGION_INDEX, offset: 0xf9 },
    { region: VFIO_PCI_ROM_REGION_INDEX, offset: 1 },
  ],
  ivshmem: [{ region: 2, offset: 5 }],
  // The station address and the multicast filter, in I/O space.
  'bridge-child-a': [{ region: 0, offset: 0 }],
  vga: [
    { region: VFIO_PCI_CONFIG_REGION_INDEX, offset: 0 },
    { region: VFIO_PCI_VGA_REGION_INDEX, offset: 0xa0001 },
  ],
};

test(
  'device.region.vectored.read',
  'the pieces of a vectored read follow each other in the region',
  { covers: [], source: SOURCE, devices: Object.keys(PLACES) },
  ({ device, role }) => {
    enableDevice(device);
    setCommand(device, { set: PCI_COMMAND_IO });
    if (role === 'ivshmem') {
      device.region(2).write(0, Buffer.from(Array.from({ length: 64 }, (_, i) => 0x40 + i)));
    }
    for (const { region: index, offset } of PLACES[role]!) {
      const region = device.region(index);
      const wanted = region.read(offset, TOTAL);
      const got = vectored('preadv', device, region, offset, Buffer.alloc(TOTAL, 0xee));
      expect(got, `region ${index}`).toEqual({ result: TOTAL, bytes: wanted });
    }
  },
);

test(
  'device.region.vectored.write',
  'the pieces of a vectored write follow each other in the region',
  { covers: [], source: SOURCE, devices: ['ivshmem', 'pci-testdev'], needs: [OWN_MACHINE] },
  ({ device, role }) => {
    enableDevice(device);
    // Shared memory; the end of a config space without capabilities, where all can be written.
    const region = role === 'ivshmem' ? device.region(2) : device.config;
    const offset = role === 'ivshmem' ? 5 : region.size - TOTAL - 3;
    const before = region.read(offset - 1, TOTAL + 2);
    const bytes = Buffer.from(Array.from({ length: TOTAL }, (_, i) => 0x81 + i));
    expect(vectored('pwritev', device, region, offset, bytes).result).toBe(TOTAL);
    const after = region.read(offset - 1, TOTAL + 2);
    region.write(offset - 1, before);
    const wanted = Buffer.from(before);
    bytes.copy(wanted, 1);
    expect(after).toEqual(wanted);
  },
);
