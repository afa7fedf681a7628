import { O_CLOEXEC, O_RDWR } from '../abi/libc.ts';
import { VFIO_GET_API_VERSION } from '../abi/vfio.ts';
import { kcov, sys } from '../shim/index.ts';
import { debugfsHas } from './debugfs.ts';
import { kernelShift, readKallsyms, vfioFunctions, type KernelFunction } from './vfio-symbols.ts';

/** Which branches of VFIO's code were reached, by KCOV (Documentation/dev-tools/kcov.rst). */
export class CodeCoverage {
  readonly #functions: readonly KernelFunction[];
  readonly #reached = new Set<string>();

  private constructor(functions: readonly KernelFunction[]) {
    this.#functions = functions;
  }

  /** Begins; null if the kernel has no KCOV, or tells addresses by it that mean nothing here. */
  static begin(): CodeCoverage | null {
    try {
      if (!debugfsHas('kcov')) return null;
      const kallsyms = readKallsyms();
      const shift = kernelShift(kallsyms);
      // KCOV tells addresses as they were linked (kernel/kcov.c canonicalize_ip()).
      const functions = vfioFunctions(kallsyms).map(({ name, start, end }) => ({
        name,
        start: start - shift,
        end: end - shift,
      }));
      kcov.begin(functions);
      const coverage = new CodeCoverage(functions);
      if (coverage.#seesCalls()) return coverage;
      coverage.end();
      return null;
    } catch {
      return null;
    }
  }

  #seesCalls(): boolean {
    const fd = sys.open('/dev/vfio/vfio', O_RDWR | O_CLOEXEC);
    sys.ioctl(fd, VFIO_GET_API_VERSION.request, 0);
    sys.close(fd);
    return this.isFresh();
  }

  /** Whether something was reached since the last call, and never before. */
  isFresh(): boolean {
    const addresses = kcov.fresh();
    for (const address of addresses) {
      const { name } = this.#functions.find(({ start, end }) => start <= address && address < end)!;
      this.#reached.add(name);
    }
    return addresses.length > 0;
  }

  get reached(): string[] {
    return [...this.#reached].sort();
  }

  /** Functions of VFIO that were never called. */
  get unreached(): string[] {
    const names = new Set(this.#functions.map(({ name }) => name));
    return [...names].filter((name) => !this.#reached.has(name)).sort();
  }

  end(): void {
    kcov.end();
  }
}
