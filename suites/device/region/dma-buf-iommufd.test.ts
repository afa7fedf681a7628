import {
  CDEV,
  Edu,
  PCI_CAP_ID_EXP,
  PCI_CAP_ID_PM,
  PCI_EXP_DEVCTL,
  PCI_EXP_DEVCTL_BCR_FLR,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
  dmaBufExport,
  enableDevice,
  expect,
  findCapability,
  require,
  scratchRegisters,
  setMemoryEnabled,
  sys,
  test,
  tryExportDmaBuf,
  tryHotReset,
  type Answer,
  type CdevDevice,
  type DmaMemory,
  type TestContext,
} from '../../../harness/testing/index.ts';

const MAP = 'drivers/vfio/pci/vfio_pci_dmabuf.c vfio_pci_dma_buf_iommufd_map()';
const MOVE = 'drivers/vfio/pci/vfio_pci_dmabuf.c vfio_pci_dma_buf_move()';
const CLEANUP = 'drivers/vfio/pci/vfio_pci_dmabuf.c vfio_pci_dma_buf_cleanup()';
const COVERS = [VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_DMA_BUF')];
const FAULT = /DMAR: .*(fault|DMA (Read|Write))/i;
const PAGE = 4096n;
const MEMORY = 0x10000n;
const BAR = 0x100000n;
const NONE = 0;

/** A device that exports a BAR, and an edu that looks at it through the IOMMU. */
class Neighbours {
  readonly exporter: CdevDevice;
  readonly #io;
  readonly #ioas: number;
  readonly #edu: Edu;
  readonly #memory: DmaMemory;
  readonly #defer;

  constructor({ openCdev, iommufd, memory, defer }: TestContext, exporter: string) {
    this.#defer = defer;
    this.#io = iommufd();
    this.exporter = openCdev(exporter);
    this.exporter.bind(this.#io);
    require(dmaBufExport(this.exporter));
    enableDevice(this.exporter);
    this.#ioas = this.#io.allocIoas();
    const device = openCdev('edu');
    device.bind(this.#io);
    device.tryAttach(this.#ioas).must();
    this.#memory = memory({ size: 4096, kind: '4k' });
    this.#io.tryMap(this.#ioas, { iova: MEMORY, vaddr: this.#memory.address, size: PAGE }).must();
    this.#edu = new Edu(device);
    defer(() => this.#edu.unmap());
  }

  /** The fd of a dma-buf; closed after the test. */
  export(region: number, ...ranges: [bigint, bigint][]): number {
    const fd = tryExportDmaBuf(this.exporter, { region, ranges }).must();
    this.#defer(() => sys.close(fd));
    return fd;
  }

  tryMap(fd: number, size: bigint = PAGE, start = 0n): Answer {
    return this.#io.tryMapFile(this.#ioas, { iova: BAR, fd, start, size });
  }

  unmap(size: bigint = PAGE): void {
    expect(this.#io.tryUnmap(this.#ioas, BAR, size)).toSucceed(0);
  }

  /** The 32 bits that edu finds at this place of the mapping; {@link NONE} if it finds none. */
  seen(offset: number): number {
    this.#memory.write(0, Buffer.alloc(4, NONE));
    this.#edu.readMemory(MEMORY, 4);
    this.#edu.readMemory(BAR + BigInt(offset), 4);
    this.#edu.writeMemory(MEMORY, 4);
    return this.#memory.read(0, 4).readUInt32LE();
  }

  /** Lets edu write 32 bits to this place of the mapping. */
  put(offset: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    this.#memory.write(0, bytes);
    this.#edu.readMemory(MEMORY, 4);
    this.#edu.writeMemory(BAR + BigInt(offset), 4);
  }
}

const SHARED = 2;
const IVSHMEM = { device: 'edu', uses: ['ivshmem'], needs: [CDEV], since: '7.0', covers: COVERS };
const IGB = { device: 'edu', uses: ['igb'], needs: [CDEV], since: '7.0', covers: COVERS };
/** The page of igb's BAR 0 with a register that keeps what is written. */
const { offset: SCRATCH } = scratchRegisters('igb');
const SCRATCH_PAGE = BigInt(SCRATCH) & ~(PAGE - 1n);
const IN_PAGE = SCRATCH - Number(SCRATCH_PAGE);

test(
  'device.dma-buf.iommufd.reach',
  'another device reaches exactly the exported range of a BAR through the address space that maps it',
  { source: MAP, ...IVSHMEM },
  (context) => {
    const pair = new Neighbours(context, 'ivshmem');
    const shared = context.map(pair.exporter.region(SHARED), { size: 8n * PAGE });
    for (let page = 0; page < 8; page++) shared.store32(page * 4096, 0x1000 + page);
    const fd = pair.export(SHARED, [2n * PAGE, 3n * PAGE]);
    expect(pair.tryMap(fd, 4n * PAGE)).toFailWith('EINVAL');
    expect(pair.tryMap(fd, 3n * PAGE)).toSucceed(0);
    expect([0, 4096, 8192].map((offset) => pair.seen(offset))).toEqual([0x1002, 0x1003, 0x1004]);
    pair.put(4096, 0xfeed);
    expect([2, 3, 4].map((page) => shared.load32(page * 4096))).toEqual([0x1002, 0xfeed, 0x1004]);
    pair.unmap(3n * PAGE);
    expect(pair.tryMap(fd, PAGE, 2n * PAGE)).toSucceed(0);
    expect(pair.seen(0)).toBe(0x1004);
  },
);

test(
  'device.dma-buf.iommufd.several-ranges',
  'a dma-buf of several ranges is not mapped, be they next to each other',
  { source: MAP, ...IVSHMEM },
  (context) => {
    const pair = new Neighbours(context, 'ivshmem');
    const fd = pair.export(SHARED, [0n, PAGE], [PAGE, PAGE]);
    expect(pair.tryMap(fd, 2n * PAGE)).toFailWith('EOPNOTSUPP');
    expect(pair.tryMap(fd)).toFailWith('EOPNOTSUPP');
    expect(pair.tryMap(pair.export(SHARED, [0n, PAGE]))).toSucceed(0);
  },
);

test(
  'device.dma-buf.iommufd.memory-disabled',
  'while memory is disabled no dma-buf is mapped, made before or meanwhile, and afterwards each is',
  { source: [MAP, MOVE], ...IVSHMEM },
  (context) => {
    const pair = new Neighbours(context, 'ivshmem');
    const before = pair.export(SHARED, [0n, PAGE]);
    for (let round = 0; round < 2; round++) {
      setMemoryEnabled(pair.exporter, false);
      const meanwhile = pair.export(SHARED, [0n, PAGE]);
      for (const fd of [before, meanwhile]) expect(pair.tryMap(fd)).toFailWith('ENODEV');
      setMemoryEnabled(pair.exporter, true);
      for (const fd of [before, meanwhile]) {
        expect(pair.tryMap(fd)).toSucceed(0);
        pair.unmap();
      }
    }
  },
);

/** Ways to take the memory of a device away, and to give it back. */
const REVOKED: Record<
  string,
  { take: (device: CdevDevice) => void; give: (device: CdevDevice) => void }
> = {
  'memory-disabled': {
    take: (device) => setMemoryEnabled(device, false),
    give: (device) => setMemoryEnabled(device, true),
  },
  'low-power': {
    take: (device) =>
      device.tryFeature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY).must(),
    give: (device) =>
      device.tryFeature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT).must(),
  },
  d3hot: {
    take: (device) => device.config.write16(findCapability(device.config, PCI_CAP_ID_PM)! + 4, 3),
    give: (device) => device.config.write16(findCapability(device.config, PCI_CAP_ID_PM)! + 4, 0),
  },
  reset: { take: (device) => device.reset(), give: () => {} },
  'flr-bit': {
    take: ({ config }) => {
      const control = findCapability(config, PCI_CAP_ID_EXP)! + PCI_EXP_DEVCTL;
      config.write16(control, config.read16(control) | PCI_EXP_DEVCTL_BCR_FLR);
    },
    give: () => {},
  },
  'hot-reset': { take: (device) => void tryHotReset(device, []).must(), give: () => {} },
};

for (const [name, { take, give }] of Object.entries(REVOKED)) {
  test(
    `device.dma-buf.iommufd.revoked.${name}`,
    `${name} takes the exported memory away from the other device for good, and then it can be mapped again`,
    {
      source: MOVE,
      ...IGB,
      risks: name === 'hot-reset' ? [name] : [],
      provokes: [FAULT],
    },
    (context) => {
      const pair = new Neighbours(context, 'igb');
      const { exporter } = pair;
      const fd = pair.export(0, [SCRATCH_PAGE, PAGE]);
      expect(pair.tryMap(fd)).toSucceed(0);
      exporter.region(0).write32(SCRATCH, 0xcafe);
      expect(pair.seen(IN_PAGE)).toBe(0xcafe);
      take(exporter);
      give(exporter);
      exporter.region(0).write32(SCRATCH, 0xbabe);
      expect(pair.seen(IN_PAGE)).toBe(NONE);
      pair.unmap();
      expect(pair.tryMap(fd)).toSucceed(0);
      expect(pair.seen(IN_PAGE)).toBe(0xbabe);
    },
  );
}

test(
  'device.dma-buf.iommufd.stays-revoked',
  'what gives the memory back to others gives it back only if the user has not disabled it',
  { source: MOVE, ...IGB, risks: ['hot-reset'] },
  (context) => {
    const pair = new Neighbours(context, 'igb');
    const { exporter } = pair;
    const fd = pair.export(0, [SCRATCH_PAGE, PAGE]);
    setMemoryEnabled(exporter, false);
    for (const [name, { take, give }] of Object.entries(REVOKED)) {
      if (name === 'memory-disabled') continue;
      take(exporter);
      give(exporter);
      expect(pair.tryMap(fd), name).toFailWith('ENODEV');
    }
    setMemoryEnabled(exporter, true);
    expect(pair.tryMap(fd)).toSucceed(0);
  },
);

test(
  'device.dma-buf.iommufd.closed',
  'closing the device takes its memory away from the other device, for good',
  { source: CLEANUP, ...IVSHMEM, provokes: [FAULT] },
  (context) => {
    const pair = new Neighbours(context, 'ivshmem');
    const shared = pair.exporter.region(SHARED);
    shared.write32(0, 0x5eed);
    const fd = pair.export(SHARED, [0n, PAGE]);
    expect(pair.tryMap(fd)).toSucceed(0);
    expect(pair.seen(0)).toBe(0x5eed);
    pair.exporter.close();
    expect(pair.seen(0)).toBe(NONE);
    pair.unmap();
    expect(pair.tryMap(fd)).toFailWith('ENODEV');
    const again = context.openCdev('ivshmem');
    again.bind(context.iommufd());
    enableDevice(again);
    expect(pair.tryMap(fd)).toFailWith('ENODEV');
    expect(again.region(SHARED).read32(0)).toBe(0x5eed);
  },
);
