import { CodeCoverage } from './code-coverage.ts';
import { FunctionCoverage } from './function-coverage.ts';

/** What the kernel tells of the code of VFIO's that programs reach. */
export interface Coverage {
  /** Whether something was reached since the last call, and never before. */
  isFresh(): boolean;
  /** Functions of VFIO that were called, and those that were not. */
  readonly reached: string[];
  readonly unreached: string[];
  end(): void;
}

/** Branches if the kernel has KCOV, else functions if it has the function tracer, else null. */
export function beginCoverage(): Coverage | null {
  return CodeCoverage.begin() ?? FunctionCoverage.begin();
}
