import type { Risk } from '../protocol/risks.ts';
import { kernelAtLeast } from '../kernel/version.ts';
import { ANY } from './machine.ts';
import { currentSuiteFile, type Case } from './registry.ts';
import type { Requirement } from './requirement.ts';
import { BEHIND_PORT, consent, deviceRole } from './requirements.ts';

/** Milliseconds that a test may take before the supervisor calls it hung. */
const DEFAULT_TIMEOUT_MS = 60_000;

/** The metadata of a test, as its author writes it. */
export interface TestOptions {
  /** uAPI items, from the descriptors of harness/abi: `VFIO_IOMMU_MAP_DMA.fails('EEXIST')`. */
  covers?: readonly { toString(): string }[];
  /** Where the promise is made: `drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()`. */
  source: string | readonly string[];
  /** First kernel that makes the promise, e.g. `6.8`; older ones skip the test. */
  since?: string;
  /** First kernel that no longer makes it. */
  until?: string;
  /** Commits and CVEs whose fix this test checks; printed on failure. */
  fixes?: readonly string[];
  /** Rows of the existing tests' checks that this one covers. */
  peer?: readonly string[];
  /** Role of the device that `device` opens; any device unless said otherwise. */
  device?: string;
  /** One test for each of these roles; the id gets `@role`. */
  devices?: readonly string[];
  /** Roles of further devices that the test opens by name. */
  uses?: readonly string[];
  needs?: readonly Requirement[];
  /** What it does beyond using its device; a test that covers the hot reset does that, on a bus that can be reset. */
  risks?: readonly Risk[];
  /** Kernel messages that the test provokes and that must not fail it. */
  provokes?: readonly RegExp[];
  timeoutMs?: number;
}

/** Consents that a test needs on a real machine. */
function risksOf({ risks = [], covers = [] }: TestOptions): Risk[] {
  const resets = covers.some((item) => /^VFIO_DEVICE_PCI_HOT_RESET\b/.test(String(item)));
  return [...new Set<Risk>([...risks, ...(resets ? (['hot-reset'] as const) : [])])];
}

/** A hot reset, and the question what it would reset, fail at once with ENODEV on a root bus. */
function place({ covers = [] }: TestOptions): Requirement[] {
  const isBelow = covers.some((item) =>
    /^VFIO_DEVICE_(GET_)?PCI_HOT_RESET(_INFO)?\b(?!.*:(ENODEV|ENOTTY)$)/.test(String(item)),
  );
  return isBelow ? [BEHIND_PORT] : [];
}

/** A requirement on the kernel's version. */
function version(options: TestOptions): Requirement[] {
  const { since, until } = options;
  const requirements: Requirement[] = [];
  if (since !== undefined) {
    requirements.push({
      name: `kernel >= ${since}`,
      missing: () => (kernelAtLeast(since) ? null : `the promise is made since Linux ${since}`),
    });
  }
  if (until !== undefined) {
    requirements.push({
      name: `kernel < ${until}`,
      missing: () => (kernelAtLeast(until) ? `the promise ended with Linux ${until}` : null),
    });
  }
  return requirements;
}

/** What a declaration says of a test, or of a benchmark: once for each role that it names. */
export function casesOf(id: string, title: string, options: TestOptions): Omit<Case, 'body'>[] {
  if (!options.devices) return [caseOf(id, title, options, options.device ?? ANY)];
  return options.devices.map((role) => caseOf(`${id}@${role}`, title, options, role));
}

function caseOf(id: string, title: string, options: TestOptions, role: string): Omit<Case, 'body'> {
  const roles = new Set([role, ...(options.uses ?? [])]);
  const requirements = [
    ...version(options),
    ...[...roles].map(deviceRole),
    ...place(options),
    ...risksOf(options).map(consent),
    ...(options.needs ?? []),
  ];
  return {
    meta: {
      id,
      suite: id.slice(0, id.indexOf('.')),
      title,
      file: currentSuiteFile(),
      covers: (options.covers ?? []).map(String),
      source: typeof options.source === 'string' ? [options.source] : [...options.source],
      ...(options.since !== undefined && { since: options.since }),
      ...(options.until !== undefined && { until: options.until }),
      fixes: [...(options.fixes ?? [])],
      needs: requirements.map(({ name }) => name),
      peer: [...(options.peer ?? [])],
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    },
    requirements,
    provokes: [...(options.provokes ?? [])],
    role,
    roles: [...roles],
  };
}
