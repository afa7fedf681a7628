import { existsSync, readFileSync } from 'node:fs';
import { VFIO_DEVICE_FEATURE_DMA_BUF, VFIO_DEVICE_FEATURE_PROBE } from '../abi/vfio.ts';
import { hasDmaHeap } from '../kernel/dma-heap.ts';
import { canFailAllocations } from '../kernel/fault-injection.ts';
import { canTraceIommu } from '../kernel/iommu-trace.ts';
import { canTraceArguments, canTraceFunctions } from '../kernel/tracing.ts';
import { pinnableBytes } from '../kernel/memory-accounting.ts';
import { isUnloadable, moduleAvailable } from '../kernel/modules.ts';
import { tellsPageFlags } from '../kernel/page-flags.ts';
import { resetMethods } from '../pci/reset-method.ts';
import type { Device } from '../vfio/device.ts';
import { NEEDS } from '../protocol/needs.ts';
import { kernelAtLeast } from '../kernel/version.ts';
import { RISKS, type Risk } from '../protocol/risks.ts';
import { ANY, functionInRole, hasAbility, isAllowed, memoryLimit, ownsMachine } from './machine.ts';
import type { Requirement } from './requirement.ts';

/** A device in a role. */
export function deviceRole(role: string): Requirement {
  return {
    name: role === ANY ? NEEDS.anyDevice : NEEDS.device(role),
    missing: () =>
      functionInRole(role)
        ? null
        : `no device ${role === ANY ? 'was given' : `in the role '${role}'`}`,
  };
}

/** A port or bridge above the device: a root bus can neither be reset nor hear of errors. */
export const BEHIND_PORT: Requirement = {
  name: 'a port or bridge above the device',
  missing: (pci) =>
    pci && pci.parent === null ? `${pci.bdf} is on a root bus, behind no port or bridge` : null,
};

/** A way to reset the device alone: `reset_method` of sysfs names one. */
export const RESET_METHOD: Requirement = {
  name: 'a reset method',
  missing: (pci) =>
    pci && resetMethods(pci).length === 0 ? `the kernel has no way to reset ${pci.bdf}` : null,
};

/** The right to rebind any device: only on a machine of the tests' own. */
export const OWN_MACHINE: Requirement = {
  name: NEEDS.ownMachine,
  missing: () => (ownsMachine() ? null : 'it rebinds devices: runs in the VM only'),
};

/** The user's consent to what reaches beyond the device; in the VM it is given. */
export function consent(risk: Risk): Requirement {
  return {
    name: NEEDS.consent(risk),
    missing: () => (isAllowed(risk) ? null : `${RISKS[risk]}; allow it by --allow ${risk}`),
  };
}

/** Something that only the outside of the guest can do. */
export function ability(name: string): Requirement {
  return {
    name: NEEDS.outside(name),
    missing: () => (hasAbility(name) ? null : `the target cannot do '${name}' from outside`),
  };
}

/** Memory for DMA, which is taken and pinned. */
export function dmaMemory(bytes: number): Requirement {
  const mebibytes = (value: number) => `${Math.ceil(value / 2 ** 20)} MiB`;
  return {
    name: `${mebibytes(bytes)} of memory`,
    missing: () => {
      if (bytes > memoryLimit())
        return `it takes ${mebibytes(bytes)}, --memory is ${mebibytes(memoryLimit())}`;
      return bytes <= pinnableBytes()
        ? null
        : `it pins ${mebibytes(bytes)}, this user may lock ${mebibytes(pinnableBytes())} (ulimit -l)`;
    },
  };
}

/** Free huge pages of a size. */
export function hugePages(sizeKiB: number, count: number): Requirement {
  const free = `/sys/kernel/mm/hugepages/hugepages-${sizeKiB}kB/free_hugepages`;
  return {
    name: `${count} free huge pages of ${sizeKiB} KiB`,
    missing: () => {
      const found = existsSync(free) ? Number(readFileSync(free, 'utf8')) : 0;
      return found >= count ? null : `${found} of ${count} huge pages of ${sizeKiB} KiB are free`;
    },
  };
}

/** Root, for tests that change what only root may. */
export const ROOT: Requirement = {
  name: 'root',
  missing: () => (process.getuid?.() === 0 ? null : 'it needs root'),
};

/** A driver or another module of the kernel, to be loaded by the test. */
export function kernelModule(name: string): Requirement {
  return {
    name: `module ${name}`,
    missing: () => (moduleAvailable(name) ? null : `the kernel has no module ${name}`),
  };
}

/** vfio-pci as a module, for tests that load it with other parameters. */
export const UNLOADABLE_VFIO_PCI: Requirement = {
  name: 'vfio-pci as a module',
  missing: () => (isUnloadable('vfio_pci') ? null : 'vfio-pci is built in and cannot be reloaded'),
};

/** Allocations of the kernel's that fail when a test says so. */
export const FAILSLAB: Requirement = {
  name: 'failslab',
  missing: () =>
    canFailAllocations()
      ? null
      : 'the kernel cannot be made to run out of memory (CONFIG_FAILSLAB)',
};

/** Parameters of vfio-pci that count for devices bound afterwards: older kernels read them when the module is loaded. */
export const CHANGEABLE_VFIO_PCI: Requirement = {
  name: 'vfio-pci as a module, or kernel >= 7.3',
  missing: () =>
    isUnloadable('vfio_pci') || kernelAtLeast('7.3')
      ? null
      : 'vfio-pci is built in and reads its parameters at boot only',
};

/** Devices with nodes of their own, and iommufd: CONFIG_VFIO_DEVICE_CDEV. */
export const CDEV: Requirement = {
  name: 'cdev',
  missing: () =>
    // The folder of the nodes is there only while a device is registered; the major number always.
    existsSync('/dev/iommu') && /^ *\d+ vfio-dev$/m.test(readFileSync('/proc/devices', 'utf8'))
      ? null
      : 'the kernel has no VFIO device nodes (CONFIG_VFIO_DEVICE_CDEV) or no iommufd',
};

/** The export of BARs as dma-bufs: Linux 7.0 or later, with CONFIG_VFIO_PCI_DMABUF. For `require()`. */
export function dmaBufExport(device: Device): Requirement {
  return {
    name: 'dma-buf export of BARs',
    missing: () =>
      device.tryFeature(VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_DMA_BUF).ok
        ? null
        : 'the kernel exports no BAR as dma-buf (CONFIG_VFIO_PCI_DMABUF)',
  };
}

/** Functions of the kernel whose calls can be traced, for root: CONFIG_FUNCTION_TRACER. */
export function tracedFunctions(...names: string[]): Requirement {
  return {
    name: `calls of ${names.join(', ')}`,
    missing: () =>
      canTraceFunctions(names) ? null : `calls of ${names.join(', ')} cannot be traced`,
  };
}

/** Functions of the kernel whose arguments can be seen, for root: CONFIG_KPROBE_EVENTS. */
export function tracedArguments(...names: string[]): Requirement {
  return {
    name: `arguments of ${names.join(', ')}`,
    missing: () =>
      canTraceArguments(names) ? null : `arguments of ${names.join(', ')} cannot be seen`,
  };
}

/** Memory of dma-bufs, for root: CONFIG_DMABUF_HEAPS_SYSTEM. */
export const DMA_HEAP: Requirement = {
  name: 'the system DMA heap',
  missing: () => (hasDmaHeap() ? null : '/dev/dma_heap/system cannot be opened'),
};

/** The flags of page frames, for root: CONFIG_PROC_PAGE_MONITOR. */
export const PAGE_FLAGS: Requirement = {
  name: 'page flags',
  missing: () => (tellsPageFlags() ? null : '/proc/kpageflags cannot be read'),
};

/** The trace events of the IOMMU core, for root: CONFIG_TRACING. */
export const IOMMU_TRACE: Requirement = {
  name: 'IOMMU trace events',
  missing: () => (canTraceIommu() ? null : 'the trace events of the IOMMU cannot be read'),
};
