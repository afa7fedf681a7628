import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from '../protocol/events.ts';
import { stealMs } from './steal.ts';

const CPU = '/sys/devices/system/cpu';
const NODES = '/sys/devices/system/node';
const MM = '/sys/kernel/mm';
const IOMMUS = '/sys/class/iommu';

/** Second-level large page support in VT-d's capability register: bits 34 (2 MiB) and 35 (1 GiB). */
const VTD_PAGE_SIZES = [
  [34n, '2M'],
  [35n, '1G'],
] as const;

/** What latencies depend on besides the kernel: how this machine manages memory, time and power. */
export function conditions(): Environment {
  return {
    IOMMUs: names(IOMMUS).join(' ') || 'none',
    'IOMMU page sizes': iommuPageSizes(),
    'IOMMU modes of the groups': distinct('/sys/kernel/iommu_groups', 'type'),
    'transparent huge pages': text(join(MM, 'transparent_hugepage/enabled')),
    'huge page sizes': names(join(MM, 'hugepages')).join(' '),
    'CPUs allowed': /^Cpus_allowed_list:\s*(.*)$/m.exec(text('/proc/self/status'))?.[1] ?? '',
    governor: text(join(CPU, 'cpu0/cpufreq/scaling_governor')) || 'none',
    'idle states': idleStates(),
    SMT: text(join(CPU, 'smt/active')) === '1' ? 'active' : 'not active',
    clocksource: text('/sys/devices/system/clocksource/clocksource0/current_clocksource'),
    'NUMA nodes': names(NODES).filter((name) => /^node\d/.test(name)).length,
    'NUMA nodes of the CPUs': names(CPU)
      .filter((name) => /^cpu\d/.test(name))
      .map(
        (cpu) => `${cpu}:${names(join(CPU, cpu)).find((name) => /^node\d/.test(name)) ?? 'none'}`,
      )
      .join(' '),
    'NUMA nodes of the PCI functions': distinct('/sys/bus/pci/devices', 'numa_node'),
    'steal time before, ms': stealMs(),
  };
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

function names(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

/** The values that an attribute has in the entries of a folder. */
function distinct(folder: string, attribute: string): string {
  const values = names(folder).map((name) => text(join(folder, name, attribute)));
  return [...new Set(values)].sort().join(' ');
}

function iommuPageSizes(): string {
  const sizes = names(IOMMUS).map((name) => {
    const cap = text(join(IOMMUS, name, 'intel-iommu/cap'));
    if (cap === '') return 'unknown';
    const bits = BigInt(`0x${cap}`);
    return ['4K', ...VTD_PAGE_SIZES.flatMap(([bit, size]) => ((bits >> bit) & 1n ? [size] : []))];
  });
  return [...new Set(sizes.map(String))].join(' ');
}

function idleStates(): string {
  const folder = join(CPU, 'cpu0/cpuidle');
  const states = names(folder).filter((name) => name.startsWith('state'));
  const driver = text(join(CPU, 'cpuidle/current_driver')) || 'none';
  const named = states.map((state) => {
    const off = text(join(folder, state, 'disable')) === '1' ? ' (off)' : '';
    return text(join(folder, state, 'name')) + off;
  });
  return [driver, ...named].join(' ');
}
