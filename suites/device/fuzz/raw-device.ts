import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  vfio_device_feature,
  vfio_device_info,
  vfio_iommu_type1_dma_map,
  vfio_iommu_type1_dma_unmap,
  vfio_irq_set,
  type Batch,
  type TestContext,
} from '../../../harness/testing/index.ts';

const PAGE = 4096n;
const IOVA = 0x20_0000n;
const INDEXES = [VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX];

/** A device before and after programs that may have done anything to it: put at rest, and tried. */
export class RawDevice {
  readonly #container: number;
  readonly #device: number;
  readonly #config: bigint;
  readonly #vendor: number;
  readonly #memory: bigint;
  /** For the interrupt that is expected in the end. */
  readonly #signal: number;

  constructor(context: TestContext) {
    const { container, device } = context;
    this.#container = container.fd;
    this.#device = device.fd;
    this.#config = device.config.info.offset;
    this.#vendor = device.config.read16(0);
    this.#memory = context.memory({ size: Number(PAGE), kind: '4k' }).address;
    this.#signal = context.eventfd().fd;
  }

  /** Nothing is mapped, nothing interrupts, and the device is awake. */
  addQuiet(batch: Batch): void {
    const flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT;
    this.#add(
      batch,
      this.#device,
      VFIO_DEVICE_FEATURE.request,
      vfio_device_feature.encode({ flags }),
    );
    const all = vfio_iommu_type1_dma_unmap.encode({ flags: VFIO_DMA_UNMAP_FLAG_ALL });
    this.#add(batch, this.#container, VFIO_IOMMU_UNMAP_DMA.request, all);
    for (const index of INDEXES) this.#addTrigger(batch, index, 0);
  }

  /** The device is as it was: it answers, its memory can be mapped, its interrupt arrives. */
  addWork(batch: Batch): void {
    const { program } = batch;
    const succeed = (fd: number, request: number, argument: Uint8Array) =>
      batch.expectResult(this.#add(batch, fd, request, argument), 0);
    succeed(this.#device, VFIO_DEVICE_GET_INFO.request, vfio_device_info.encode({}));
    const range = { iova: IOVA, size: PAGE };
    const map = vfio_iommu_type1_dma_map.encode({ flags: 3, vaddr: this.#memory, ...range });
    succeed(this.#container, VFIO_IOMMU_MAP_DMA.request, map);
    const unmap = vfio_iommu_type1_dma_unmap.encode(range);
    succeed(this.#container, VFIO_IOMMU_UNMAP_DMA.request, unmap);
    const id = program.data(2);
    batch.expectResult(program.syscall('pread', this.#device, id, 2, this.#config), 2);

    const connect = vfio_irq_set.encode({
      argsz: vfio_irq_set.tailOffset + 4,
      flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
      index: VFIO_PCI_MSI_IRQ_INDEX,
      count: 1,
    });
    const number = Buffer.alloc(4);
    number.writeInt32LE(this.#signal);
    succeed(this.#device, VFIO_DEVICE_SET_IRQS.request, Buffer.concat([connect, number]));
    batch.expectResult(this.#addTrigger(batch, VFIO_PCI_MSI_IRQ_INDEX, 1), 0);
    const counter = program.data(8);
    batch.expectResult(program.syscall('read', this.#signal, counter, 8), 8);
    batch.expectU64(counter, 0, 1);
    batch.expectResult(this.#addTrigger(batch, VFIO_PCI_MSI_IRQ_INDEX, 0), 0);
    batch.check(() => {
      const observed = id.bytes.readUInt16LE();
      if (observed === this.#vendor) return null;
      return { what: 'vendor', expected: String(this.#vendor), observed: String(observed) };
    });
  }

  /** A signal as the device would give it; with no vector, the end of the index. */
  #addTrigger(batch: Batch, index: number, count: number) {
    const flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
    const argument = vfio_irq_set.encode({ argsz: vfio_irq_set.tailOffset, flags, index, count });
    return this.#add(batch, this.#device, VFIO_DEVICE_SET_IRQS.request, argument);
  }

  #add({ program }: Batch, fd: number, request: number, argument: Uint8Array) {
    return program.syscall('ioctl', fd, request, program.data(argument));
  }
}
