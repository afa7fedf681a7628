import yargs from 'yargs';
import { joinDashValues } from './dash-values.ts';
import { RUN_OPTIONS, type RunArguments } from './run-options.ts';

const { kernel, modules, machine, append } = RUN_OPTIONS;

/** Options that say which virtual machine. */
export const VM_MACHINE_OPTIONS = {
  kernel,
  modules,
  machine,
  append,
  'qemu-arg': RUN_OPTIONS['qemu-arg'],
};

export type MachineArguments = RunArguments;

/** The options of a `run` as it was typed, program name first. */
export function recordedOptions(command: readonly string[]): RunArguments {
  return yargs(joinDashValues(command.slice(1)))
    .options(RUN_OPTIONS)
    .parserConfiguration({ 'duplicate-arguments-array': true, 'camel-case-expansion': false })
    .help(false)
    .version(false)
    .exitProcess(false)
    .parseSync() as unknown as RunArguments;
}
