/** All that a suite file imports. */
export * from '../abi/libc.ts';
export * from '../abi/io-uring.ts';
export * from '../abi/iommufd.ts';
export * from '../abi/pci-regs.ts';
export * from '../abi/vfio.ts';
export * from '../devices/e1000e.ts';
export * from '../devices/edu.ts';
export * from '../devices/igb.ts';
export * from '../devices/nic-transmit.ts';
export * from '../devices/nvme.ts';
export * from '../devices/scratch-registers.ts';
export type * from '../devices/test-device.ts';
export * from '../devices/interrupt-devices.ts';
export * from '../kernel/dma-heap.ts';
export { traceArguments, traceFunctions } from '../kernel/tracing.ts';
export * from '../kernel/fault-injection.ts';
export * from '../kernel/freed-memory.ts';
export * from '../kernel/compat-ioctl.ts';
export * from '../kernel/interrupts.ts';
export { DEBUGFS, debugfsHas } from '../kernel/debugfs.ts';
export type { Guest } from '../vfio/guest.ts';
export { VirtualMachine } from '../vfio/virtual-machine.ts';
export { kernelAtLeast } from '../kernel/version.ts';
export { lockedMemory } from '../kernel/memory-accounting.ts';
export * from '../kernel/iommu-trace.ts';
export * from '../kernel/module-parameter.ts';
export * from '../kernel/aligned-area.ts';
export * from '../kernel/memory-areas.ts';
export * from '../kernel/page-flags.ts';
export * from '../kernel/pinned-pages.ts';
export * from '../kernel/modules.ts';
export * from '../pci/binding.ts';
export * from '../pci/extended-list.ts';
export * from '../pci/hotplug.ts';
export * from '../pci/sriov.ts';
export * from '../pci/sysfs-write.ts';
export * from '../pci/raw-config.ts';
export * from '../pci/topology.ts';
export {
  Actor,
  DmaMemory,
  ERRNO,
  KernelError,
  type MemoryKind,
  Program,
  execAgain,
  runParallel,
  type Arg,
  type Data,
  type Ref,
  sys,
} from '../shim/index.ts';
export * from '../pci/reset-method.ts';
export * from '../pci/rom.ts';
export * from '../pci/runtime-power.ts';
export * from '../kernel/answer.ts';
export * from '../vfio/capability-chain.ts';
export { coversConfig } from '../vfio/config-items.ts';
export * from '../vfio/config-model.ts';
export * from '../vfio/config-pair.ts';
export * from '../vfio/config-permissions.ts';
export * from '../vfio/cdev.ts';
export * from '../vfio/config-space.ts';
export * from '../vfio/container.ts';
export * from '../vfio/container-user.ts';
export * from '../vfio/device.ts';
export * from '../vfio/dirty-tracking.ts';
export * from '../vfio/disintx.ts';
export * from '../vfio/dma-buf.ts';
export * from '../vfio/dma-program.ts';
export * from '../vfio/eventfd.ts';
export * from '../vfio/group.ts';
export * from '../vfio/hot-reset.ts';
export * from '../vfio/ioctl.ts';
export * from '../vfio/ioeventfd.ts';
export * from '../vfio/iommufd.ts';
export * from '../vfio/irqs.ts';
export * from '../vfio/nodes.ts';
export * from '../vfio/mediated-device.ts';
export * from '../vfio/memory-decoding.ts';
export * from '../vfio/migration.ts';
export * from '../vfio/msix-table.ts';
export * from '../vfio/region.ts';
export * from '../vfio/vfio-pci-parameter.ts';
export * from './aer.ts';
export * from './dma-faults.ts';
export { DMA_ROLES, dmaDevice, startEdu, startNvme } from './dma-device.ts';
export * from './dma-probe.ts';
export * from './charged.ts';
export { CLOSE_ORDERS } from './close-orders.ts';
export * from './container-user.ts';
export * from './each-allocation.ts';
export { eventually } from './eventually.ts';
export { expect } from './expect.ts';
export * from './half-feature.ts';
export * from './kernel-leaks.ts';
export * from './kvm.ts';
export { fuzz, type FuzzOptions } from './fuzz.ts';
export { THREADS, pause, racing } from './racing.ts';
export { Batch, LAST_ERRNO, strangeResult } from '../fuzz/batch.ts';
export type { Kind, Stage } from '../fuzz/fuzzer.ts';
export type { Operation } from '../fuzz/operation.ts';
export { seededNumbers } from '../fuzz/random.ts';
export * from './mapping-state.ts';
export * from './mediated.ts';
export { functionInRole } from './machine.ts';
export * from './no-iommu.ts';
export { askOutside, hmp } from './outside.ts';
export * from './intel-iommu.ts';
export { remover } from './remover.ts';
export { require, type Requirement } from './requirement.ts';
export * from './requirements.ts';
export * from './slot.ts';
export * from './scattered-memory.ts';
export * from './virtual-functions.ts';
export { bench, type BenchOptions } from './bench.ts';
export { benchFuzzer } from './fuzz-bench.ts';
export type { Measure } from './measure.ts';
export type { Reference } from './reference.ts';
export * from './traced-loop.ts';
export { test } from './test.ts';
export type { TestContext } from './context.ts';
export * from './loads-meanwhile.ts';
export * from './page-faults.ts';
