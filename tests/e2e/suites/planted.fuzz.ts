/**
 * Planted bugs: the project's own fuzzers run while the answers of the kernel are falsified on the way,
 * each time in one way. Each must be found, and told in a few operations.
 */
import '../../../suites/container/fuzz/dma-map.fuzz.ts';
import '../../../suites/device/fuzz/config-space.fuzz.ts';
import '../../../suites/device/fuzz/raw.fuzz.ts';
import '../../../suites/device/fuzz/region.fuzz.ts';
import '../../../suites/group/fuzz/life.fuzz.ts';
import '../../../suites/irq/fuzz/set-irqs.fuzz.ts';
import { setLiar, type DecodedOp, type ProgramMemory } from '../../../harness/shim/index.ts';
import {
  ERRNO,
  PCI_INTERRUPT_LINE,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  fuzz,
  vfio_iommu_type1_dma_map,
  vfio_iommu_type1_dma_unmap,
  type Stage,
} from '../../../harness/testing/index.ts';
import { fuzzerOf } from '../../../harness/testing/fuzz.ts';

/** One answer of the kernel, to look at and to falsify. */
interface Told {
  op: DecodedOp;
  index: number;
  program: ProgramMemory;
  /** The memory that an argument points to. */
  memory(argument: number, length: number): Buffer;
}

interface PlantedBug {
  fuzzer: string;
  /** What the kernel would do if it had the bug. */
  says: string;
  device?: string;
  lie(told: Told): void;
}

const valueOf = (op: DecodedOp, argument: number): bigint => {
  const arg = op.args[argument]!;
  return arg.kind === 'immediate' ? arg.value : 0n;
};
const isIoctl = (op: DecodedOp, request: number): boolean =>
  op.name === 'ioctl' && valueOf(op, 1) === BigInt(request);
/** Where in its region an access to a device's file begins; the region is in the upper bits. */
const placeOf = (op: DecodedOp): bigint => BigInt.asUintN(40, valueOf(op, 3));
const regionOf = (op: DecodedOp): bigint => valueOf(op, 3) >> 40n;

const BUGS: Record<string, PlantedBug> = {
  'unmaps-too-much': {
    fuzzer: 'container.fuzz.dma-map-v1',
    says: 'an unmap removes one page too many',
    lie: ({ op, memory }) => {
      if (!isIoctl(op, VFIO_IOMMU_UNMAP_DMA.request) || op.result !== 0n) return;
      const bytes = memory(2, vfio_iommu_type1_dma_unmap.size);
      const at = vfio_iommu_type1_dma_unmap.offsetof('size');
      const size = bytes.readBigUInt64LE(at);
      if (size > 0n) bytes.writeBigUInt64LE(size + 4096n, at);
    },
  },
  'maps-over-others': {
    fuzzer: 'container.fuzz.dma-map-v1',
    says: 'a mapping may overlap another',
    lie: ({ op, index, program }) => {
      if (isIoctl(op, VFIO_IOMMU_MAP_DMA.request) && op.result === BigInt(-ERRNO.EEXIST)) {
        program.forgeResult(index, 0);
      }
    },
  },
  'takes-any-vaddr': {
    fuzzer: 'container.fuzz.dma-map-v1',
    says: 'a vaddr may be given to a mapping that has one',
    lie: ({ op, index, program, memory }) => {
      if (!isIoctl(op, VFIO_IOMMU_MAP_DMA.request) || op.result !== BigInt(-ERRNO.EINVAL)) return;
      const { flags, argsz } = vfio_iommu_type1_dma_map.decode(
        memory(2, vfio_iommu_type1_dma_map.size),
      );
      const isWhole = argsz >= vfio_iommu_type1_dma_map.size;
      if (isWhole && flags === VFIO_DMA_MAP_FLAG_VADDR) program.forgeResult(index, 0);
    },
  },
  'shows-the-hardware': {
    fuzzer: 'device.fuzz.config-space',
    says: 'a virtual register shows what was not written to it',
    device: 'edu',
    lie: ({ op, memory }) => {
      if (op.name !== 'pread' || op.result <= 0n || regionOf(op) === 0n) return;
      const at = BigInt(PCI_INTERRUPT_LINE) - placeOf(op);
      if (at >= 0n && at < op.result) memory(1, Number(op.result))[Number(at)]! ^= 0x10;
    },
  },
  'signals-twice': {
    fuzzer: 'irq.fuzz.set-irqs',
    says: 'an interrupt signals its eventfd twice',
    device: 'edu',
    lie: ({ op, memory }) => {
      if (op.name !== 'read' || op.result !== 8n) return;
      const counter = memory(1, 8);
      counter.writeBigUInt64LE(2n * counter.readBigUInt64LE());
    },
  },
  'opens-a-taken-group': {
    fuzzer: 'group.fuzz.life',
    says: 'a group that is open answers with another errno',
    lie: ({ op, index, program }) => {
      if (op.name === 'openat' && op.result === BigInt(-ERRNO.EBUSY)) {
        program.forgeResult(index, -ERRNO.EPERM);
      }
    },
  },
  'reads-a-stale-byte': {
    fuzzer: 'device.fuzz.region',
    says: 'the last byte of an odd read is not the one that was written',
    lie: ({ op, memory }) => {
      if (op.name !== 'pread' || op.result % 4n !== 3n) return;
      memory(1, Number(op.result))[Number(op.result) - 1]! ^= 0xff;
    },
  },
  'leaks-an-errno': {
    fuzzer: 'device.fuzz.raw',
    says: "an errno that is the kernel's own reaches user space",
    lie: ({ op, index, program }) => {
      const ERESTARTSYS = 512;
      if (op.name === 'ioctl' && op.result === BigInt(-ERRNO.ENOTTY)) {
        program.forgeResult(index, -ERESTARTSYS);
      }
    },
  },
};

for (const [name, { fuzzer: id, says, device, lie }] of Object.entries(BUGS)) {
  const fuzzer = fuzzerOf(device === undefined ? id : `${id}@${device}`)!;
  fuzz(`e2e.planted.${name}`, `${says}, which is false`, {
    ...fuzzer,
    devices: undefined,
    ...(device !== undefined && { device }),
    stage: (context): Stage<never> => {
      const stage = fuzzer.stage(context);
      setLiar(({ op: index, program }) => {
        const op = program.op(index);
        const memory = (argument: number, length: number): Buffer => {
          const arg = op.args[argument]!;
          return arg.kind === 'arena'
            ? program.arenaBytes(arg.offset, length)
            : Buffer.alloc(length);
        };
        lie({ op, index, program, memory });
      });
      context.defer(() => setLiar(null));
      return stage;
    },
  });
}
