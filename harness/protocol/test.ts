/** What both sides know of a test. */

/** How a test ended. `xfail` and `xpass` are given by the supervisor, from the expectation files. */
export type Status = 'pass' | 'fail' | 'error' | 'skip' | 'crash' | 'timeout' | 'xfail' | 'xpass';

/** The metadata of one test; static data, known without root, device or kernel. */
export interface TestMeta {
  /** Stable and dotted, the suite first: `container.map-dma.overlap`, with `@kind` for a device kind. */
  id: string;
  suite: string;
  /** A sentence of the specification. */
  title: string;
  /** Path of the suite file, relative to the project. */
  file: string;
  /** uAPI items: `VFIO_IOMMU_MAP_DMA`, `VFIO_IOMMU_MAP_DMA:EEXIST`, `VFIO_IOMMU_MAP_DMA:flag:VFIO_DMA_MAP_FLAG_READ`. */
  covers: string[];
  /** Where the promise is made: header, document or kernel file and function. */
  source: string[];
  /** First kernel version that makes the promise. */
  since?: string;
  /** First kernel version that no longer makes it. */
  until?: string;
  /** Commits and CVEs whose absence this test would show. */
  fixes: string[];
  /** Names of requirements, as `vfio-conformance show` prints them. */
  needs: string[];
  /** Rows of the peers' checks that this test covers: `S13`, `A2`, `L7`. */
  peer: string[];
  /** Milliseconds after which the supervisor takes the test for hung, before scaling. */
  timeoutMs: number;
}

/** Why a test did not pass, in words that need nothing else. */
export interface Failure {
  /** `assertion`: the kernel broke a promise; `kernel-log`: it complained; `leak`: the test left something behind; `setup`: a fixture broke. */
  kind: 'assertion' | 'kernel-log' | 'leak' | 'setup' | 'death';
  message: string;
  expected?: string;
  observed?: string;
  stack?: string;
  /** Decoded system calls of the test, oldest first. */
  calls: string[];
  /** What to try next: `you may be missing commit …`. */
  hints: string[];
  /** A standalone C program that issues the same calls. */
  reproducer?: string;
}
