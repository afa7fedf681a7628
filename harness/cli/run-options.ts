import type { Argv, InferredOptionTypes, Options } from 'yargs';
import { RISK_NAMES, RISKS } from '../protocol/risks.ts';
import { UsageError } from '../target/errors.ts';
import { DEFAULT_KERNEL, knownKernels } from '../target/vm/kernels.ts';
import { MACHINES } from '../target/vm/machines.ts';
import { shellWord } from './program.ts';

const VM_GROUP = 'The virtual machine:';
const LOCAL_GROUP = 'This machine instead of a virtual one:';
const RUN_GROUP = 'The run:';
const REPORT_GROUP = 'Reports:';

/** The options of `run`. */
export const RUN_OPTIONS = {
  kernel: {
    describe: `${knownKernels()
      .map(({ name }) => name)
      .join(', ')}; or the path of a vmlinuz, a kernel build tree, a .deb, a folder of .debs`,
    type: 'string',
    requiresArg: true,
    defaultDescription: DEFAULT_KERNEL,
    group: VM_GROUP,
  },
  modules: {
    describe: 'folder with freshly built modules, laid over those of the kernel',
    type: 'string',
    requiresArg: true,
    group: VM_GROUP,
  },
  machine: {
    describe: MACHINES.map(({ name, title }) => `${name}: ${title}`).join('; '),
    type: 'string',
    requiresArg: true,
    defaultDescription: MACHINES[0]?.name,
    group: VM_GROUP,
  },
  append: {
    describe: 'words for the kernel command line (repeatable)',
    type: 'string',
    array: true,
    nargs: 1,
    group: VM_GROUP,
  },
  'qemu-arg': {
    describe: 'one argument for QEMU (repeatable)',
    type: 'string',
    array: true,
    nargs: 1,
    group: VM_GROUP,
  },
  before: {
    describe: 'shell command in the guest before the tests, as root; files in $RESULTS are kept',
    type: 'string',
    requiresArg: true,
    group: VM_GROUP,
  },
  after: {
    describe: 'shell command in the guest after the tests',
    type: 'string',
    requiresArg: true,
    group: VM_GROUP,
  },
  device: {
    describe: 'PCI address of an unused device; it is given back at the end (repeatable)',
    type: 'string',
    array: true,
    nargs: 1,
    group: LOCAL_GROUP,
  },
  yes: {
    describe: 'agree beforehand to what the run does to this machine: for CI',
    type: 'boolean',
    default: false,
    group: LOCAL_GROUP,
  },
  force: {
    describe: 'take a device that is in use, where no data and no login can be lost',
    type: 'boolean',
    default: false,
    group: LOCAL_GROUP,
  },
  allow: {
    describe: `let tests do what reaches beyond the devices (repeatable). ${Object.entries(RISKS)
      .map(([name, what]) => `${name}: ${what}`)
      .join('; ')}`,
    choices: RISK_NAMES,
    array: true,
    nargs: 1,
    group: LOCAL_GROUP,
  },
  nice: {
    describe: 'run in the background of a busy machine: niceness, up to 19',
    type: 'number',
    requiresArg: true,
    group: RUN_GROUP,
  },
  memory: {
    describe: 'memory that the run may take, e.g. 8G: fewer virtual machines, no larger tests',
    type: 'string',
    requiresArg: true,
    group: RUN_GROUP,
  },
  'timeout-scale': {
    describe: 'factor on every time limit, for slow machines and debug kernels',
    type: 'number',
    requiresArg: true,
    default: 1,
    group: RUN_GROUP,
  },
  'max-deaths': {
    describe: 'crashes and hangs after which the run is given up',
    type: 'number',
    requiresArg: true,
    default: 10,
    group: RUN_GROUP,
  },
  bail: {
    describe: 'end the run after this many failures; 0: never',
    type: 'number',
    requiresArg: true,
    default: 0,
    group: RUN_GROUP,
  },
  jobs: {
    describe: 'virtual machines that share the tests',
    type: 'number',
    requiresArg: true,
    defaultDescription: 'as many as the processors and the memory bear',
    group: VM_GROUP,
  },
  shuffle: {
    describe: 'run the tests in an order that this seed decides; `random` picks a seed',
    type: 'string',
    requiresArg: true,
    group: RUN_GROUP,
  },
  results: {
    describe: 'directory for the reports; must be new or empty',
    type: 'string',
    requiresArg: true,
    defaultDescription: 'results/TIME-KERNEL',
    group: REPORT_GROUP,
  },
  ktap: {
    describe: 'KTAP on stdout, test by test as they end; all else goes to stderr',
    type: 'boolean',
    default: false,
    group: REPORT_GROUP,
  },
  quiet: {
    describe: 'print failures and the summary only',
    type: 'boolean',
    default: false,
    group: REPORT_GROUP,
  },
} as const satisfies Record<string, Options>;

export type RunArguments = InferredOptionTypes<typeof RUN_OPTIONS> & { ids?: string[] };

/** Options whose value may begin with a dash, as arguments of other programs do. */
export const DASH_VALUES = ['--append', '--qemu-arg', '--before', '--after'];

/** Options that say nothing without a virtual machine. */
const VM_ONLY = [
  'kernel',
  'modules',
  'machine',
  'append',
  'qemu-arg',
  'before',
  'after',
  'jobs',
] as const;

export function runBuilder(yargs: Argv): Argv<RunArguments> {
  return yargs
    .positional('ids', {
      describe: 'ids, beginnings of ids, globs or suite files; all tests if none',
      type: 'string',
      array: true,
    })
    .options(RUN_OPTIONS)
    .example('$0 run', 'all tests on the newest Debian kernel, in a virtual machine')
    .example("$0 run container '*.reset@nvme'", 'a suite, and a glob')
    .example('$0 run --kernel ~/linux --modules ~/linux/drivers/vfio', 'a kernel just built')
    .example(
      '$0 run --append "iommu.strict=1" --qemu-arg=-d --qemu-arg=guest_errors',
      'other settings',
    )
    .example(
      "$0 run --before 'echo function > /sys/kernel/tracing/current_tracer' --after 'cp /sys/kernel/tracing/trace $RESULTS'",
      'trace',
    )
    .example('$0 run --device 0000:01:00.0', 'on this machine, with this device')
    .epilogue(
      'Exit codes: 0 all as expected, 1 failures, 2 wrong usage, 3 harness or set-up error,\n' +
        '4 everything skipped, 5 the kernel crashed or the run was given up, 130 interrupted.',
    ) as Argv<RunArguments>;
}

/** @throws UsageError where options contradict each other or make no sense */
export function checkRunArguments(args: RunArguments): void {
  for (const [name, option] of Object.entries<Options>(RUN_OPTIONS)) {
    if (option.array || !Array.isArray(args[name as keyof RunArguments])) continue;
    throw new UsageError(`--${name} is given more than once`, 'give it once');
  }
  if (args.device) {
    const useless = VM_ONLY.filter((name) => args[name] !== undefined);
    if (useless.length > 0) {
      throw new UsageError(
        `--device tests on this machine, --${useless.join(', --')} belongs to the virtual one`,
        'leave one of them out',
      );
    }
  }
  if (!(args['timeout-scale'] > 0)) {
    throw new UsageError(
      '--timeout-scale is not a number above 0',
      'for example: --timeout-scale 2',
    );
  }
  if (args.nice !== undefined && !(args.nice >= 0 && args.nice <= 19)) {
    throw new UsageError('--nice is not a number from 0 to 19', 'for example: --nice 10');
  }
  if (!(args['max-deaths'] >= 1)) {
    throw new UsageError('--max-deaths is not a number above 0', 'for example: --max-deaths 3');
  }
  if (args.jobs !== undefined && !(args.jobs >= 1)) {
    throw new UsageError('--jobs is not a number above 0', 'for example: --jobs 2');
  }
}

/** The options that matter when tests of a run are to be run again in the same way, for the shell. */
export function rerunOptions(args: RunArguments): string[] {
  return optionWords(args, [...VM_ONLY, 'device', 'force', 'allow', 'memory', 'timeout-scale']).map(
    shellWord,
  );
}

/** The command line of `run` that these arguments make, program name first. */
export function runCommand(args: RunArguments): string[] {
  const options = optionWords(args, Object.keys(RUN_OPTIONS) as (keyof typeof RUN_OPTIONS)[]);
  return ['vfio-conformance', 'run', ...(args.ids ?? []), ...options];
}

/** Those of the options that do not have their default. */
function optionWords(args: RunArguments, names: readonly (keyof typeof RUN_OPTIONS)[]): string[] {
  return names.flatMap((name) => {
    const option: Options = RUN_OPTIONS[name];
    const value = args[name];
    if (value === undefined || value === option.default) return [];
    if (value === true) return [`--${name}`];
    // `=`, because a value may begin with a dash.
    return [value].flat().map((one) => `--${name}=${one}`);
  });
}
