import { readFileSync, realpathSync } from 'node:fs';
import {
  PCI_CAP_ID_PM,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_PM_CTRL,
  PCI_PM_CTRL_STATE_MASK,
  Program,
  VFIO_GROUP_GET_DEVICE_FD,
  enableDevice,
  expect,
  findCapability,
  runParallel,
  scratchRegisters,
  sys,
  test,
  tryHotReset,
  type PciFunction,
  type TestContext,
} from '../../harness/testing/index.ts';

const ENABLE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_enable()';
const DISABLE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_disable()';
const OPEN = 'drivers/vfio/vfio_main.c vfio_df_open()';

test(
  'device.life.first-open',
  'a device is reset, decodes memory, and masters no bus when its first user opens it',
  { covers: [], source: ENABLE, devices: ['igb', 'nvme', 'e1000e'], peer: ['S2'] },
  ({ group, pci, openDevice }) => {
    for (let user = 0; user < 2; user++) {
      const device = openDevice(group, pci.bdf);
      const command = () => [
        device.config.read16(PCI_COMMAND) & (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER),
        pci.config().readUInt16LE(PCI_COMMAND) & (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER),
      ];
      expect(command()).toEqual([PCI_COMMAND_MEMORY, PCI_COMMAND_MEMORY]);
      enableDevice(device);
      device.close();
    }
  },
);

test(
  'device.life.registers',
  'what one user left in the registers the next one does not find',
  { covers: [], source: [ENABLE, DISABLE], device: 'igb' },
  ({ group, pci, openDevice, role }) => {
    const { region, offset } = scratchRegisters(role);
    const first = openDevice(group, pci.bdf);
    enableDevice(first);
    first.region(region).write32(offset, 0x5ec2_e000);
    expect(first.region(region).read32(offset)).toBe(0x5ec2_e000);
    first.close();
    const second = openDevice(group, pci.bdf);
    enableDevice(second);
    expect(second.region(region).read32(offset)).toBe(0);
  },
);

test(
  'device.life.master-off',
  'closing the device ends its mastering of the bus',
  {
    covers: [],
    source: `${DISABLE}: pci_clear_master()`,
    devices: ['edu', 'edu-rp', 'igb', 'nvme'],
  },
  ({ group, pci, openDevice }) => {
    const device = openDevice(group, pci.bdf);
    enableDevice(device);
    const master = () => pci.config().readUInt16LE(PCI_COMMAND) & PCI_COMMAND_MASTER;
    expect(master()).toBe(PCI_COMMAND_MASTER);
    device.close();
    expect(master()).toBe(0);
  },
);

test(
  'device.life.config-restored',
  'closing the device puts its configuration back as it was before it was opened',
  {
    covers: [],
    source: `${DISABLE}: pci_restore_state()`,
    devices: ['edu', 'igb', 'nvme', 'e1000e', 'vga'],
  },
  ({ group, pci, openDevice }) => {
    // One user first: it leaves what every user leaves.
    const first = openDevice(group, pci.bdf);
    const capability = findCapability(first.config, PCI_CAP_ID_PM);
    const pm = capability === null ? null : capability + PCI_PM_CTRL;
    first.close();
    // STATUS tells of events; the rest of the header and of the standard capabilities is compared.
    const fixed = () => {
      const bytes = pci.config().subarray(0, 256);
      bytes.writeUInt16LE(0, 6);
      // An idle device goes to sleep when it likes.
      if (pm !== null) bytes.writeUInt16LE(bytes.readUInt16LE(pm) & ~PCI_PM_CTRL_STATE_MASK, pm);
      return bytes.toString('hex');
    };
    const before = fixed();
    const device = openDevice(group, pci.bdf);
    device.config.write16(PCI_COMMAND, 0x507);
    device.config.write8(0x0c, 0x20);
    device.config.write8(0x0d, 0x40);
    device.config.write8(0x3c, 0x33);
    device.close();
    expect(fixed()).toBe(before);
  },
);

test(
  'device.life.virtual-config',
  'what a user wrote to virtual fields the next user does not find',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_config.c vfio_config_init()',
    devices: ['edu', 'igb'],
  },
  ({ group, pci, openDevice }) => {
    const content = () => {
      const device = openDevice(group, pci.bdf);
      const before = device.config.read(0, 64).toString('hex');
      device.config.write32(0x10, 0xffff_ffff);
      device.config.write8(0x3c, 0x99);
      device.close();
      return before;
    };
    const first = content();
    expect(content()).toBe(first);
    expect(content()).toBe(first);
  },
);

test(
  'device.life.two-fds',
  'fds of one device share its state; closing one of them changes nothing for the other',
  { covers: [], source: OPEN, devices: ['igb', 'edu', 'ivshmem'] },
  ({ group, pci, openDevice, map, role }) => {
    const { region, offset } = scratchRegisters(role);
    const first = openDevice(group, pci.bdf);
    const second = openDevice(group, pci.bdf);
    enableDevice(first);
    expect(second.config.read16(PCI_COMMAND)).toBe(first.config.read16(PCI_COMMAND));
    first.config.write8(0x3c, 0x44);
    expect(second.config.read8(0x3c)).toBe(0x44);
    first.region(region).write32(offset, 0x7654_3000);
    const mapping = map(second.region(region));
    first.close();
    expect(mapping.load32(offset)).toBe(0x7654_3000);
    expect(second.region(region).read32(offset)).toBe(0x7654_3000);
    expect(second.config.read8(0x3c)).toBe(0x44);
    const third = openDevice(group, pci.bdf);
    expect(third.region(region).read32(offset)).toBe(0x7654_3000);
    second.region(region).write32(offset, 0);
  },
);

test(
  'device.life.bus-reset-at-close',
  'a device that only a bus reset can reset is not reset while another behind the port is open',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_needs_reset()',
    device: 'mf-a',
    uses: ['mf-b'],
    risks: ['hot-reset'],
  },
  ({ device, group, openDevice, bound }) => {
    const other = openDevice(group, bound('mf-b').bdf);
    const { offset } = scratchRegisters('mf-a');
    enableDevice(device);
    enableDevice(other);
    device.region(0).write32(offset, 0xabcd);
    other.close();
    expect(device.region(0).read32(offset)).toBe(0xabcd);
    expect(device.config.read16(PCI_COMMAND) & 6).toBe(6);
    expect(tryHotReset(device, [group.fd])).toSucceed(0);
  },
);

test(
  'device.life.cycles',
  'a device can be opened and closed thousands of times, and is as good as new then',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD],
    source: [OPEN, ENABLE, DISABLE],
    device: 'edu',
    timeoutMs: 300_000,
  },
  ({ group, pci, openDevice }) => {
    const ROUNDS = 2000;
    const program = new Program().stopOnError();
    const name = program.data(pci.bdf);
    const open = program.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, name);
    program.syscall('close', open);
    const all = program.repeat(open, ROUNDS);
    program.run();
    expect(program.result(all)).toBeGreaterThanOrEqual(0);
    expect(program.count(all)).toBe(ROUNDS);
    const device = openDevice(group, pci.bdf);
    enableDevice(device);
    expect(device.region(0).read32(0)).toBe(0x0100_00ed);
    expect(device.info().num_regions).toBe(9);
  },
);

test(
  'device.life.many-fds',
  'hundreds of fds of one device can be open at once',
  { covers: [VFIO_GROUP_GET_DEVICE_FD], source: OPEN, device: 'edu' },
  ({ device, group, pci }) => {
    const MANY = 300;
    const program = new Program();
    const name = program.data(pci.bdf);
    const opens = Array.from({ length: MANY }, () =>
      program.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, name),
    );
    const bytes = program.data(4);
    const read = program.syscall('pread', opens[MANY - 1]!, bytes, 4, 7n << 40n);
    const closes = opens.map((open) => program.syscall('close', open));
    program.run();
    expect(new Set(opens.map((open) => program.result(open))).size).toBe(MANY);
    expect(Math.min(...opens.map((open) => program.result(open)))).toBeGreaterThan(2);
    expect(program.result(read)).toBe(4);
    expect(bytes.bytes.readUInt16LE()).toBe(pci.vendor);
    expect(closes.map((close) => program.result(close))).toEqual(closes.map(() => 0));
    expect(device.config.read16(0)).toBe(pci.vendor);
  },
);

/** A thread that opens, reads and closes a device so many times, and what it has seen in the end. */
function openings(group: TestContext['group'], { bdf }: PciFunction, rounds: number) {
  const program = new Program().stopOnError();
  const ids = program.data(4);
  const name = program.data(bdf);
  const open = program.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, name);
  const read = program.syscall('pread', open, ids, 4, 7n << 40n);
  program.syscall('close', open);
  const all = program.repeat(open, rounds);
  const seen = () => ({
    rounds: program.count(all),
    read: program.result(read),
    vendor: ids.bytes.readUInt16LE(0),
    device: ids.bytes.readUInt16LE(2),
  });
  return { program, seen };
}

test(
  'device.life.parallel',
  'two threads that open and close the same device at once do not disturb each other',
  { covers: [VFIO_GROUP_GET_DEVICE_FD], source: OPEN, device: 'edu' },
  ({ group, pci: { vendor, device }, pci }) => {
    const rounds = 40;
    const threads = [0, 1].map(() => openings(group, pci, rounds));
    runParallel(threads.map(({ program }) => program));
    for (const { seen } of threads) expect(seen()).toEqual({ rounds, read: 4, vendor, device });
  },
);

test(
  'device.life.side-by-side',
  'threads that open and close a device each do not disturb each other',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD],
    source: [OPEN, ENABLE, DISABLE],
    device: 'edu',
    uses: ['edu-rp', 'switch-edu-a', 'nvme', 'e1000e'],
    peer: ['S32'],
    timeoutMs: 180_000,
  },
  (context) => {
    const rounds = 4;
    const { bound, container, openGroup } = context;
    const others = ['edu-rp', 'switch-edu-a', 'nvme', 'e1000e'].map((role) => {
      const group = openGroup(role);
      group.setContainer(container);
      return { group, pci: bound(role) };
    });
    const all = [context, ...others].map(({ group, pci }) => {
      return { group, pci, ...openings(group, pci, rounds) };
    });
    runParallel(all.map(({ program }) => program));
    for (const { group, pci, seen } of all) {
      const { bdf, vendor, device } = pci;
      expect(seen(), bdf).toEqual({ rounds, read: 4, vendor, device });
      const opened = context.openDevice(group, bdf);
      expect(pci.config().readUInt16LE(PCI_COMMAND) & PCI_COMMAND_MEMORY).toBe(PCI_COMMAND_MEMORY);
      opened.close();
    }
  },
);

test(
  'device.life.dup',
  'a duplicate of the fd keeps the device open',
  { covers: [], source: 'drivers/vfio/vfio_main.c vfio_device_fops_release()', device: 'igb' },
  ({ group, pci, openDevice, defer }) => {
    const device = openDevice(group, pci.bdf);
    enableDevice(device);
    const { offset } = scratchRegisters('igb');
    const region = device.region(0);
    region.write32(offset, 0x1212);
    const copy = sys.dup(device.fd);
    defer(() => sys.close(copy));
    device.close();
    const word = Buffer.alloc(4);
    expect(sys.pread(copy, word, region.info.offset + BigInt(offset))).toBe(4);
    expect(word.readUInt32LE()).toBe(0x1212);
  },
);

test(
  'device.life.fdinfo',
  'the fdinfo of a device fd names the device in sysfs',
  {
    covers: [],
    source: 'drivers/vfio/vfio_main.c vfio_device_show_fdinfo()',
    since: '7.0',
    devices: ['edu', 'igb'],
  },
  ({ device, pci }) => {
    const text = readFileSync(`/proc/self/fdinfo/${device.fd}`, 'utf8');
    expect(text).toMatch(/^flags:/m);
    expect(/^vfio-device-syspath: (.*)$/m.exec(text)?.[1]).toBe(realpathSync(pci.path));
  },
);
