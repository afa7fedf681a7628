import {
  OWN_MACHINE,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  RawConfig,
  VFIO_DEVICE_IOEVENTFD,
  enableDevice,
  expect,
  scratchRegisters,
  setCommand,
  setMemoryEnabled,
  test,
  tryIoeventfd,
  eventually,
} from '../../../harness/testing/index.ts';

const IOEVENTFD = 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_ioeventfd()';
const HANDLER = 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_ioeventfd_handler()';
/** Memory BAR of ivshmem, where every byte counts. */
const SHARED = 2;
const QUIET = 30;
const DATA = 0x8877_6655_4433_2211n;

for (const width of [1, 2, 4]) {
  test(
    `device.ioeventfd.write.${width * 8}`,
    'a signal writes the data in the width asked for, once, and nothing beside it',
    {
      covers: [VFIO_DEVICE_IOEVENTFD.flag(`VFIO_DEVICE_IOEVENTFD_${(width * 8) as 8 | 16 | 32}`)],
      source: [IOEVENTFD, HANDLER],
      device: 'ivshmem',
    },
    ({ device, eventfd }) => {
      enableDevice(device);
      const region = device.region(SHARED);
      const kick = eventfd();
      for (const offset of [0, 64, 4096 + 8, region.size - width]) {
        const around = offset & ~15;
        region.write(around, Buffer.alloc(16, 0xcc));
        const assignment = { width, offset, data: DATA };
        expect(tryIoeventfd(device, region, { ...assignment, fd: kick.fd })).toSucceed(0);
        expect(region.read(around, 16).every((byte) => byte === 0xcc)).toBe(true);
        kick.signal();
        expect(eventually(() => region.read8(offset) !== 0xcc)).toBe(true);
        const wanted = Buffer.alloc(16, 0xcc);
        for (let i = 0; i < width; i++) wanted[(offset & 15) + i] = 0x11 * (i + 1);
        expect([...region.read(around, 16)], `at ${offset}`).toEqual([...wanted]);
        expect(tryIoeventfd(device, region, { ...assignment, fd: -1 })).toSucceed(0);
      }
    },
  );
}

test(
  'device.ioeventfd.write.64',
  'a signal writes 64 bits in one access',
  {
    covers: [VFIO_DEVICE_IOEVENTFD.flag('VFIO_DEVICE_IOEVENTFD_64')],
    source: [IOEVENTFD, HANDLER],
    since: '6.11',
    devices: ['ivshmem', 'edu'],
  },
  ({ device, eventfd, role }) => {
    // edu takes both halves of its DMA source address from one access only.
    enableDevice(device);
    const { region: index, offset } = scratchRegisters(role);
    const region = device.region(index);
    region.write64(offset, 0n);
    const kick = eventfd();
    expect(tryIoeventfd(device, region, { width: 8, offset, data: DATA, fd: kick.fd })).toSucceed(
      0,
    );
    kick.signal();
    expect(eventually(() => region.read64(offset) !== 0n)).toBe(true);
    expect(region.read64(offset)).toBe(DATA);
    region.write64(offset, 0n);
  },
);

test(
  'device.ioeventfd.each-signal',
  'each signal writes again, until the assignment is taken back',
  { covers: [VFIO_DEVICE_IOEVENTFD], source: HANDLER, devices: ['ivshmem', 'igb', 'edu'] },
  ({ device, eventfd, role }) => {
    enableDevice(device);
    const { region: index, offset } = scratchRegisters(role);
    const region = device.region(index);
    const kick = eventfd();
    const assignment = { width: 4, offset, data: 0x0bad_cafen };
    expect(tryIoeventfd(device, region, { ...assignment, fd: kick.fd })).toSucceed(0);
    for (let round = 0; round < 3; round++) {
      region.write32(offset, 0);
      kick.signal();
      expect(
        eventually(() => region.read32(offset) === 0x0bad_cafe),
        `round ${round}`,
      ).toBe(true);
    }
    expect(tryIoeventfd(device, region, { ...assignment, fd: -1 })).toSucceed(0);
    region.write32(offset, 0);
    kick.signal();
    expect(eventually(() => region.read32(offset) !== 0, QUIET)).toBe(false);
  },
);

test(
  'device.ioeventfd.pending',
  'an eventfd that was signalled before fires at once',
  {
    covers: [VFIO_DEVICE_IOEVENTFD],
    source: 'drivers/vfio/virqfd.c vfio_virqfd_enable()',
    device: 'ivshmem',
  },
  ({ device, eventfd }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    region.write32(0, 0);
    const kick = eventfd({ initial: 1 });
    expect(tryIoeventfd(device, region, { width: 4, offset: 0, data: 7n, fd: kick.fd })).toSucceed(
      0,
    );
    expect(eventually(() => region.read32(0) === 7)).toBe(true);
  },
);

test(
  'device.ioeventfd.several',
  'one eventfd can do several writes, and each of several eventfds its own',
  { covers: [VFIO_DEVICE_IOEVENTFD], source: IOEVENTFD, device: 'ivshmem' },
  ({ device, eventfd }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    region.write(0, Buffer.alloc(64));
    const [first, second] = [eventfd(), eventfd()];
    const assign = (offset: number, data: bigint, fd: number, width = 4) =>
      expect(tryIoeventfd(device, region, { width, offset, data, fd })).toSucceed(0);
    assign(0, 0xa1n, first.fd);
    assign(16, 0xa2n, first.fd);
    assign(32, 0xb1n, second.fd);
    const words = () => [0, 16, 32, 48].map((offset) => region.read32(offset));
    second.signal();
    expect(eventually(() => region.read32(32) !== 0)).toBe(true);
    expect(words()).toEqual([0, 0, 0xb1, 0]);
    first.signal();
    expect(eventually(() => region.read32(0) !== 0 && region.read32(16) !== 0)).toBe(true);
    expect(words()).toEqual([0xa1, 0xa2, 0xb1, 0]);
  },
);

test(
  'device.ioeventfd.memory-disabled',
  'a signal while memory is disabled writes nothing, neither then nor later; the next one does',
  { covers: [VFIO_DEVICE_IOEVENTFD], source: `${HANDLER}: test_mem`, devices: ['ivshmem', 'igb'] },
  ({ device, eventfd, role }) => {
    enableDevice(device);
    const { region: index, offset } = scratchRegisters(role);
    const region = device.region(index);
    region.write32(offset, 0);
    const kick = eventfd();
    expect(tryIoeventfd(device, region, { width: 4, offset, data: 0x77n, fd: kick.fd })).toSucceed(
      0,
    );
    setMemoryEnabled(device, false);
    kick.signal();
    setMemoryEnabled(device, true);
    expect(eventually(() => region.read32(offset) !== 0, QUIET)).toBe(false);
    kick.signal();
    expect(eventually(() => region.read32(offset) === 0x77)).toBe(true);
  },
);

test(
  'device.ioeventfd.memory-disabled-by-user',
  'what the user disabled is not written to, even where the hardware would take it',
  {
    covers: [VFIO_DEVICE_IOEVENTFD],
    source: `${HANDLER}: test_mem`,
    devices: ['ivshmem', 'igb'],
    needs: [OWN_MACHINE],
  },
  ({ device, eventfd, role, pci, defer }) => {
    enableDevice(device);
    const { region: index, offset } = scratchRegisters(role);
    const region = device.region(index);
    region.write32(offset, 0);
    const kick = eventfd();
    tryIoeventfd(device, region, { width: 4, offset, data: 0x77n, fd: kick.fd }).must();
    setMemoryEnabled(device, false);
    const hardware = new RawConfig(pci);
    defer(() => hardware.close());
    const off = hardware.read16(PCI_COMMAND);
    hardware.write16(PCI_COMMAND, off | PCI_COMMAND_MEMORY);
    kick.signal();
    hardware.write16(PCI_COMMAND, off);
    setMemoryEnabled(device, true);
    expect(eventually(() => region.read32(offset) !== 0, QUIET)).toBe(false);
  },
);

test(
  'device.ioeventfd.io',
  'an I/O BAR takes the write too, whether memory is enabled or not',
  { covers: [VFIO_DEVICE_IOEVENTFD], source: `${HANDLER}: test_mem`, devices: ['e1000e', 'igb'] },
  ({ device, eventfd }) => {
    enableDevice(device);
    setCommand(device, { set: PCI_COMMAND_IO });
    // IOADDR: holds the offset of the register behind IODATA.
    const io = device.region(2);
    io.write32(0, 0);
    const kick = eventfd();
    expect(tryIoeventfd(device, io, { width: 4, offset: 0, data: 0x5200n, fd: kick.fd })).toSucceed(
      0,
    );
    kick.signal();
    expect(eventually(() => io.read32(0) === 0x5200)).toBe(true);
    io.write32(0, 0);
    setMemoryEnabled(device, false);
    kick.signal();
    expect(eventually(() => io.read32(0) === 0x5200)).toBe(true);
    setMemoryEnabled(device, true);
  },
);

test(
  'device.ioeventfd.closed-eventfd',
  'an eventfd may be closed: the assignment still counts, and can be taken back once',
  {
    covers: [VFIO_DEVICE_IOEVENTFD.fails('EEXIST')],
    source: 'drivers/vfio/virqfd.c virqfd_wakeup()',
    device: 'ivshmem',
  },
  ({ device, eventfd }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    const assignment = { width: 4, offset: 0, data: 1n };
    const [first, second] = [eventfd(), eventfd()];
    expect(tryIoeventfd(device, region, { ...assignment, fd: first.fd })).toSucceed(0);
    first.close();
    expect(tryIoeventfd(device, region, { ...assignment, fd: second.fd })).toFailWith('EEXIST');
    expect(tryIoeventfd(device, region, { ...assignment, fd: -1 })).toSucceed(0);
    expect(tryIoeventfd(device, region, { ...assignment, fd: -1 })).toFailWith('ENODEV');
    expect(tryIoeventfd(device, region, { ...assignment, fd: second.fd })).toSucceed(0);
  },
);

test(
  'device.ioeventfd.released',
  'closing the device ends its assignments: a signal afterwards writes nothing, and a new user starts with none',
  {
    covers: [VFIO_DEVICE_IOEVENTFD],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_disable()',
    device: 'ivshmem',
  },
  ({ group, pci, openDevice, eventfd }) => {
    const first = openDevice(group, pci.bdf);
    enableDevice(first);
    const kick = eventfd();
    const assignment = { width: 4, offset: 0, data: 0x99n };
    expect(tryIoeventfd(first, first.region(SHARED), { ...assignment, fd: kick.fd })).toSucceed(0);
    first.region(SHARED).write32(0, 0);
    first.close();
    const second = openDevice(group, pci.bdf);
    enableDevice(second);
    kick.signal();
    const region = second.region(SHARED);
    expect(eventually(() => region.read32(0) !== 0, QUIET)).toBe(false);
    expect(tryIoeventfd(second, region, { ...assignment, fd: -1 })).toFailWith('ENODEV');
    expect(tryIoeventfd(second, region, { ...assignment, fd: kick.fd })).toSucceed(0);
  },
);
