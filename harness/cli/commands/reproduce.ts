import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import { readDossier } from '../../../reports/dossier.ts';
import { printable } from '../../../reports/text.ts';
import { compileReproducer } from '../../runner/reproduce/compile.ts';
import { guestScript } from '../../runner/reproduce/guest-script.ts';
import { attemptHere } from '../../runner/reproduce/here.ts';
import { attemptInVm, handOver } from '../../runner/reproduce/in-vm.ts';
import { REPRODUCE_EXIT, verdictOf, type Attempt } from '../../runner/reproduce/verdict.ts';
import { UsageError } from '../../target/errors.ts';
import { EXIT } from '../../../reports/exit-code.ts';
import { prepareTarget, targetNames } from '../choose-target.ts';
import { interruption } from '../interruption.ts';
import { recordedOptions, VM_MACHINE_OPTIONS, type MachineArguments } from '../recorded-options.ts';

type ReproduceArguments = Partial<MachineArguments> & { dossier: string; here: boolean };

/** The program sets itself an alarm; this is for one that sleeps in the kernel and cannot be killed. */
const LIMIT_MS = 600_000;

export const reproduce: CommandModule<object, ReproduceArguments> = {
  command: 'reproduce <dossier>',
  describe: 'build and run the C program of a dossier: does it still happen?',
  builder: (yargs: Argv) =>
    yargs
      .positional('dossier', {
        describe: 'a folder below dossiers/ of a results directory',
        type: 'string',
        demandOption: true,
      })
      .option('here', {
        describe:
          'on this machine, with the devices that the program names, instead of in a virtual one',
        type: 'boolean',
        default: false,
      })
      .options(VM_MACHINE_OPTIONS)
      .example('$0 reproduce results/latest/dossiers/container.map-dma.overlap', 'same machine')
      .example('$0 reproduce DOSSIER --kernel ~/linux', 'does another kernel do it too?')
      .epilogue(
        'Kernel and machine are those of the run unless given. What it left is in reproduction/ of the dossier.\n' +
          'Exit codes: 0 it does not happen, 1 it still happens, 2 wrong usage, 3 it cannot be told,\n' +
          '5 the kernel died or hangs, 130 interrupted.',
      ) as Argv<ReproduceArguments>,
  handler: async (args) => {
    const { facts, reproducer } = readDossier(args.dossier);
    if (reproducer === null) {
      throw new UsageError(
        `${args.dossier} has no reproducer.c: its calls were lost with the worker, or are too many`,
        `run the test again: ${facts.rerun}`,
      );
    }
    const options = { ...recordedOptions(facts.command), ...given(args) };
    if (!args.here && options.device) {
      throw new UsageError(
        'this failure is one of a real machine',
        'give --here, on that machine, or --kernel for a virtual one',
      );
    }
    const signals = interruption((name) => say(`${name}: ending`));
    const directory = join(args.dossier, 'reproduction');
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
    try {
      const program = join(directory, 'reproducer');
      await compileReproducer(reproducer, program);
      let attempt: Attempt;
      if (args.here) {
        attempt = await attemptHere(program);
      } else {
        targetNames(options);
        handOver(program, directory);
        const before = guestScript(readFileSync(reproducer, 'utf8'));
        const target = await prepareTarget(
          { ...options, before, after: undefined },
          directory,
          say,
          { bootTimeoutMs: LIMIT_MS },
        );
        attempt = await attemptInVm(target, directory, say, signals.signal);
      }
      if (signals.signal.aborted) {
        process.exitCode = EXIT.interrupted;
        return;
      }
      const verdict = verdictOf(facts, attempt);
      process.stdout.write(`${printable(attempt.output)}${facts.id}: ${verdict.text}\n`);
      process.exitCode = REPRODUCE_EXIT[verdict.kind];
    } finally {
      signals.release();
    }
  },
};

/** The options of this command line that were given. */
function given(args: ReproduceArguments): Partial<MachineArguments> {
  const names = Object.keys(VM_MACHINE_OPTIONS) as (keyof typeof VM_MACHINE_OPTIONS)[];
  const found = names.filter((name) => args[name] !== undefined);
  const options = Object.fromEntries(found.map((name) => [name, args[name]]));
  // A virtual machine that is asked for here takes the place of a real one there.
  return found.length > 0 ? { ...options, device: undefined } : options;
}

function say(text: string): void {
  process.stderr.write(`-- ${text}\n`);
}
