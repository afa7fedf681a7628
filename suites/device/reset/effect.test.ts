import {
  BEHIND_PORT,
  Edu,
  Igb,
  Irqs,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  RESET_METHOD,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_RESET,
  VFIO_PCI_MSIX_IRQ_INDEX,
  enableDevice,
  eventually,
  expect,
  minorFaults,
  resetMethods,
  resetWitness,
  runParallel,
  Program,
  scratchRegisters,
  setMemoryEnabled,
  setResetMethods,
  startEdu,
  test,
  tryHotReset,
} from '../../../harness/testing/index.ts';

const RESET = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset()';
const HOT_RESET = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_hot_reset()';
const ENABLE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_enable()';

for (const [role, method] of [
  ['igb', 'flr'],
  ['igb', 'bus'],
  ['igb', 'pm'],
  ['e1000e', 'pm'],
  ['e1000e', 'bus'],
  ['nvme', 'flr'],
  ['nvme', 'bus'],
  ['virtio-net', 'flr'],
  ['virtio-rng', 'pm'],
] as const) {
  test(
    `device.reset.method.${role}.${method}`,
    `the device is reset by ${method}, keeps its configuration, and works afterwards`,
    {
      covers: [VFIO_DEVICE_RESET],
      source: RESET,
      device: role,
      needs: method === 'bus' ? [BEHIND_PORT] : [],
      peer: ['S5'],
    },
    ({ pci, group, openDevice, map, defer }) => {
      expect(resetMethods(pci)).toContain(method);
      defer(setResetMethods(pci, [method]));
      const device = openDevice(group, pci.bdf);
      expect(device.info().flags & VFIO_DEVICE_FLAGS_RESET).toBe(VFIO_DEVICE_FLAGS_RESET);
      enableDevice(device);
      device.config.write8(0x3c, 0x5b);
      const virtualBefore = device.config.read(0, 64);
      const realBefore = pci.config().subarray(0, 64);
      const { region, offset, width, value } = resetWitness(role);
      const witness = () => device.region(region).read(offset, width).readUIntLE(0, width);
      const mapping = map(device.region(region));
      const touch = () => minorFaults((program) => program.load(32, mapping.address));
      touch();
      const bytes = Buffer.alloc(width);
      bytes.writeUIntLE(value, 0, width);
      device.region(region).write(offset, bytes);
      expect(witness()).toBe(value);
      expect(touch()).toBe(0);
      expect(device.tryReset()).toSucceed(0);
      // STATUS (6, 7) may tell of events; all else is put back.
      const fixed = (bytes: Buffer) => [...bytes.subarray(0, 6), ...bytes.subarray(8)];
      expect(fixed(device.config.read(0, 64))).toEqual(fixed(virtualBefore));
      expect(fixed(pci.config().subarray(0, 64))).toEqual(fixed(realBefore));
      // QEMU's emulation keeps the registers through D3hot.
      if (method !== 'pm') expect(witness()).toBe(0);
      expect(touch()).toBe(1);
      expect(device.tryReset()).toSucceed(0);
    },
  );
}

test(
  'device.reset.no-method',
  'a device whose last reset method was taken away after it was opened refuses with ENOTTY',
  { covers: [VFIO_DEVICE_RESET.fails('ENOTTY')], source: RESET, device: 'igb' },
  ({ device, pci, defer }) => {
    enableDevice(device);
    const { offset } = scratchRegisters('igb');
    const region = device.region(0);
    region.write32(offset, 0x77);
    defer(setResetMethods(pci, []));
    expect(device.tryReset()).toFailWith('ENOTTY');
    expect(region.read32(offset)).toBe(0x77);
    expect(device.info().flags & VFIO_DEVICE_FLAGS_RESET).toBe(VFIO_DEVICE_FLAGS_RESET);
  },
);

test(
  'device.reset.decided-at-open',
  'whether a device can be reset is decided when it is opened',
  {
    covers: [VFIO_DEVICE_RESET.fails('EINVAL')],
    source: `${ENABLE}: reset_works`,
    devices: ['igb', 'nvme'],
  },
  ({ pci, group, openDevice, defer }) => {
    const methods = resetMethods(pci);
    defer(setResetMethods(pci, []));
    const device = openDevice(group, pci.bdf);
    expect(device.info().flags & VFIO_DEVICE_FLAGS_RESET).toBe(0);
    expect(device.tryReset()).toFailWith('EINVAL');
    setResetMethods(pci, methods);
    expect(device.tryReset()).toFailWith('EINVAL');
    expect(device.info().flags & VFIO_DEVICE_FLAGS_RESET).toBe(0);
  },
);

test(
  'device.reset.argument',
  'a reset takes no argument and ignores the one it gets',
  { covers: [VFIO_DEVICE_RESET], source: RESET, device: 'igb' },
  ({ device }) => {
    const program = new Program();
    const refs = [0, 1, 0xffff_ffff].map((argument) =>
      program.syscall('ioctl', device.fd, VFIO_DEVICE_RESET.request, argument),
    );
    program.run();
    expect(refs.map((ref) => program.result(ref))).toEqual([0, 0, 0]);
  },
);

test(
  'device.reset.command',
  'a reset leaves memory and bus mastering as the user had them: on, or off',
  { covers: [VFIO_DEVICE_RESET], source: RESET, devices: ['igb', 'nvme', 'e1000e'] },
  ({ device, pci }) => {
    const BITS = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    const command = () => [
      device.config.read16(PCI_COMMAND) & BITS,
      pci.config().readUInt16LE(PCI_COMMAND) & BITS,
    ];
    for (const bits of [BITS, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER, 0]) {
      const other = device.config.read16(PCI_COMMAND) & ~BITS;
      device.config.write16(PCI_COMMAND, other | bits);
      device.reset();
      expect(command()).toEqual([bits, bits]);
    }
  },
);

test(
  'device.reset.mapping',
  'a mapping made before a reset shows the device after it',
  {
    covers: [VFIO_DEVICE_RESET],
    source: `${RESET}: vfio_pci_zap_and_down_write_memory_lock()`,
    device: 'igb',
  },
  ({ device, map, role }) => {
    enableDevice(device);
    const { region, offset } = scratchRegisters(role);
    const mapping = map(device.region(region));
    const untouched = map(device.region(region));
    mapping.store32(offset, 0x2468_a000);
    device.reset();
    expect(mapping.load32(offset)).toBe(0);
    mapping.store32(offset, 0x1111_1000);
    expect(untouched.load32(offset)).toBe(0x1111_1000);
    setMemoryEnabled(device, false);
    device.reset();
    expect(mapping.tryLoad(32, offset)).toFailWith('EIO');
    expect(device.region(region).tryRead(offset, 4)).toFailWith('EIO');
    setMemoryEnabled(device, true);
    expect(mapping.load32(offset)).toBe(0);
  },
);

test(
  'device.reset.interrupts',
  'interrupts that were set up before a reset work after it',
  { covers: [VFIO_DEVICE_RESET], source: RESET, device: 'igb' },
  ({ device, eventfd, defer }) => {
    const signals = [eventfd(), eventfd()];
    new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX).enable(signals);
    for (let round = 0; round < 2; round++) {
      const igb = new Igb(device);
      defer(() => igb.unmap());
      igb.raise(1);
      expect(signals[1]!.soon(), `round ${round}`).toBe(1);
      expect(signals[0]!.take()).toBe(0);
      device.reset();
    }
  },
);

test(
  'device.reset.neighbour',
  'the reset of one function leaves the other functions of its slot alone',
  { covers: [VFIO_DEVICE_RESET], source: RESET, device: 'igb-multi-0', uses: ['igb-multi-1'] },
  ({ device, openRole }) => {
    const other = openRole('igb-multi-1').device;
    enableDevice(device);
    enableDevice(other);
    const { offset } = scratchRegisters('igb');
    device.region(0).write32(offset, 0xaaaa);
    other.region(0).write32(offset, 0xbbbb);
    device.reset();
    expect([device.region(0).read32(offset), other.region(0).read32(offset)]).toEqual([0, 0xbbbb]);
    other.reset();
    expect(other.region(0).read32(offset)).toBe(0);
  },
);

test(
  'device.reset.second-fd',
  'a reset through one fd is seen through the other',
  { covers: [VFIO_DEVICE_RESET], source: RESET, device: 'igb' },
  ({ device, group, openDevice }) => {
    const second = openDevice(group);
    enableDevice(device);
    const { offset } = scratchRegisters('igb');
    device.region(0).write32(offset, 0x3333);
    expect(second.region(0).read32(offset)).toBe(0x3333);
    second.reset();
    expect(device.region(0).read32(offset)).toBe(0);
  },
);

test(
  'device.reset.race',
  'while one thread resets the device, loads of another see the register before or after, or a refusal',
  { covers: [VFIO_DEVICE_RESET], source: RESET, device: 'igb', timeoutMs: 120_000 },
  ({ device, map }) => {
    enableDevice(device);
    const { offset } = scratchRegisters('igb');
    const mapping = map(device.region(0));
    mapping.store32(offset, 0x4444);
    const resetting = new Program();
    const resets = [0, 1, 2].map(() =>
      resetting.syscall('ioctl', device.fd, VFIO_DEVICE_RESET.request, 0),
    );
    const loading = new Program();
    const loads = Array.from({ length: 200 }, () => {
      const load = loading.load(32, mapping.address + BigInt(offset));
      loading.spin(200_000);
      return load;
    });
    runParallel([resetting, loading]);
    // EAGAIN: the lock of the device or its bridge was taken by somebody else at that moment.
    for (const ref of resets) expect([0, -11]).toContain(resetting.result(ref));
    for (const load of loads) {
      expect([0, -5]).toContain(loading.result(load));
      if (loading.result(load) === 0) expect([0n, 0x4444n]).toContain(loading.value(load));
    }
  },
);

test(
  'device.reset.dma',
  'after a reset is refused the device goes on as before',
  { covers: [VFIO_DEVICE_RESET.fails('EINVAL')], source: RESET, device: 'edu' },
  ({ device, container, memory, defer }) => {
    const buffer = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0x10_0000n, vaddr: buffer.address, size: 4096n });
    const edu = new Edu(device);
    defer(() => edu.unmap());
    buffer.fill(7);
    edu.readMemory(0x10_0000n, 512);
    expect(device.tryReset()).toFailWith('EINVAL');
    buffer.fill(0);
    edu.writeMemory(0x10_0000n, 512);
    expect(buffer.verify(7, 0, 512)).toBe(-1);
    container.unmapDma({ iova: 0x10_0000n, size: 4096n });
  },
);

for (const way of ['reset', 'hot-reset'] as const) {
  test(
    `device.${way}.dma-in-flight`,
    `a ${way} during a transfer writes nowhere else, and the device transfers by its mapping after it`,
    {
      covers: [way === 'reset' ? VFIO_DEVICE_RESET : VFIO_DEVICE_PCI_HOT_RESET],
      source: way === 'reset' ? RESET : HOT_RESET,
      device: 'edu-rp',
      needs: way === 'reset' ? [RESET_METHOD] : [],
    },
    (context) => {
      const { device, group, container } = context;
      const PAGE = 4096;
      const IOVA = 0x10_0000n;
      const COUNT = 512;
      const ram = context.memory({ size: 3 * PAGE, kind: '4k' });
      const middle = ram.address + BigInt(PAGE);
      container.mapDma({ iova: IOVA, vaddr: middle, size: BigInt(PAGE) });
      const edu = startEdu(context, device);
      ram.fill(7, PAGE, COUNT);
      edu.readMemory(IOVA, COUNT);
      for (let round = 0; round < 2; round++) {
        ram.fill(9);
        edu.startWriteMemory(IOVA, COUNT);
        const answer = way === 'reset' ? device.tryReset() : tryHotReset(device, [group.fd]);
        expect(answer).toSucceed(0);
        expect(eventually(() => !edu.dmaBusy())).toBe(true);
        expect(ram.verify(9, 0, PAGE), 'before the mapping').toBe(-1);
        const behind = PAGE + COUNT;
        expect(ram.verify(9, behind, ram.size - behind, behind), 'behind the transfer').toBe(-1);
        edu.writeMemory(IOVA, COUNT);
        expect(ram.verify(7, PAGE, COUNT)).toBe(-1);
      }
    },
  );
}
