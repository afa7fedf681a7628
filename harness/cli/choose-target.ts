import { existsSync } from 'node:fs';
import { DEFAULT_KERNEL, knownKernels } from '../target/vm/kernels.ts';
import { prepareLocal } from '../target/local/local.ts';
import { availableParallelism, totalmem } from 'node:os';
import { prepareVm, type VmOptions } from '../target/vm/guest.ts';
import { MACHINES } from '../target/vm/machines.ts';
import type { Target } from '../target/target.ts';
import { didYouMean } from '../runner/suggest.ts';
import { UsageError } from '../target/errors.ts';
import { agreeTo } from './agreement.ts';
import { parseSize } from './size.ts';
import type { RunArguments } from './run-options.ts';

export const DEFAULT_MACHINE = MACHINES[0]?.name ?? 'default';

/** Names for the results directory and the expectation files, known before anything is prepared. */
export function targetNames(args: RunArguments): { machine: string; kernel: string } {
  if (args.device) return { machine: 'local', kernel: 'local' };
  const machine = args.machine ?? DEFAULT_MACHINE;
  const known = MACHINES.map(({ name }) => name);
  if (!known.includes(machine)) {
    throw new UsageError(
      `there is no machine '${machine}'`,
      didYouMean(machine, known) || `give one of ${known.join(', ')}`,
    );
  }
  const kernels = knownKernels().map(({ name }) => name);
  if (args.kernel !== undefined && !kernels.includes(args.kernel) && !existsSync(args.kernel)) {
    throw new UsageError(
      `there is no kernel '${args.kernel}': it is neither a name nor a path`,
      didYouMean(args.kernel, kernels) ||
        `give one of ${kernels.join(', ')}, or the path of a vmlinuz, a kernel build tree or a .deb`,
    );
  }
  const kernel = (args.kernel ?? DEFAULT_KERNEL).replace(/\/+$/, '').split('/').at(-1);
  return { machine, kernel: kernel || 'kernel' };
}

/** What a virtual machine may take of the host's memory. */
const BYTES_A_MACHINE = 6 * 2 ** 30;
/** Fewer tests than this are not worth another boot. */
const TESTS_A_MACHINE = 40;
/** More machines than this gain nothing: the slowest test decides. */
const MOST_MACHINES = 8;

/**
 * How many machines share the tests. One on this machine's own devices, and with `--before` or
 * `--after`, whose files in $RESULTS belong to one guest.
 */
export function machineCount(args: RunArguments, tests: number): number {
  if (args.device) return 1;
  const atOnce = machinesAtOnce(args);
  if (args.jobs !== undefined) return Math.max(1, Math.min(atOnce, tests));
  if (args.before !== undefined || args.after !== undefined) return 1;
  return Math.max(1, Math.min(atOnce, Math.floor(tests / TESTS_A_MACHINE), MOST_MACHINES));
}

/** How many virtual machines `--memory` allows. @throws UsageError if not one fits */
function machinesInMemory(memory: string | undefined): number {
  if (memory === undefined) return Infinity;
  const count = Math.floor(parseSize(memory, '--memory') / BYTES_A_MACHINE);
  if (count >= 1) return count;
  const least = `${BYTES_A_MACHINE / 2 ** 30}G`;
  throw new UsageError(`--memory ${memory} is too little for a virtual machine`, `give ${least}`);
}

/**
 * How many virtual machines may run at once: `--jobs`, or as many as the processors and the memory
 * of this machine bear; never more than `--memory` allows.
 */
export function machinesAtOnce(args: Pick<RunArguments, 'jobs' | 'memory'>): number {
  const borne = Math.min(availableParallelism(), Math.floor(totalmem() / BYTES_A_MACHINE));
  return Math.min(args.jobs ?? Math.max(1, borne), machinesInMemory(args.memory));
}

/**
 * Prepares what the options ask for: this machine's devices, or a virtual machine.
 * @param more what a virtual machine needs besides
 */
export async function prepareTarget(
  args: RunArguments,
  resultsDir: string,
  progress: (text: string) => void,
  more: Pick<VmOptions, 'lane' | 'bootTimeoutMs' | 'countInstructions'> = {},
): Promise<Target> {
  if (args.device) {
    return prepareLocal({
      devices: args.device,
      force: args.force,
      allowed: args.allow ?? [],
      memoryBytes: args.memory === undefined ? undefined : parseSize(args.memory, '--memory'),
      agree: (plan) => agreeTo(plan, args.yes),
      note: progress,
      resultsDir,
    });
  }
  return prepareVm(
    {
      kernel: args.kernel ?? DEFAULT_KERNEL,
      modules: args.modules,
      machine: args.machine ?? DEFAULT_MACHINE,
      append: (args.append ?? []).flatMap((words) => words.split(/\s+/).filter(Boolean)),
      qemuArgs: args['qemu-arg'] ?? [],
      before: args.before,
      after: args.after,
      resultsDir,
      ...more,
    },
    progress,
  );
}
