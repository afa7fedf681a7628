import type { PciFunction } from '../pci/topology.ts';

/** Something that a test needs and a machine may lack. */
export interface Requirement {
  /** As `vfio-conformance show` prints it: `device igb`, `kernel >= 6.8`. */
  readonly name: string;
  /**
   * What is missing, in a sentence that helps; null if it is there.
   * @param pci the device of the test; null or nothing if there is none
   */
  missing(pci?: PciFunction | null): string | null;
}

/** Thrown to end a test as skipped. */
export class SkipError extends Error {
  readonly reasons: string[];

  constructor(reasons: string[]) {
    super(reasons.join('; '));
    this.reasons = reasons;
  }
}

/** Ends the test as skipped unless the requirement is met: for what only shows while the test runs. */
export function require(requirement: Requirement): void {
  const missing = requirement.missing();
  if (missing !== null) throw new SkipError([missing]);
}
