import yargs from 'yargs';
import { audit } from './commands/audit.ts';
import { bench } from './commands/bench.ts';
import { compare } from './commands/compare.ts';
import { coverage } from './commands/coverage.ts';
import { devices } from './commands/devices.ts';
import { expectations } from './commands/expectations.ts';
import { fuzz } from './commands/fuzz.ts';
import { history } from './commands/history.ts';
import { kernels } from './commands/kernels.ts';
import { list } from './commands/list.ts';
import { matrix } from './commands/matrix.ts';
import { merge } from './commands/merge.ts';
import { report } from './commands/report.ts';
import { reproduce } from './commands/reproduce.ts';
import { restore } from './commands/restore.ts';
import { run } from './commands/run.ts';
import { show } from './commands/show.ts';
import { triage } from './commands/triage.ts';
import { programVersion } from './program.ts';
import { joinDashValues } from './dash-values.ts';
import { RUN_OPTIONS } from './run-options.ts';
import { didYouMean } from '../runner/suggest.ts';
import { UsageError } from '../target/errors.ts';

const COMMANDS = [
  run,
  audit,
  bench,
  fuzz,
  list,
  show,
  coverage,
  devices,
  restore,
  kernels,
  matrix,
  merge,
  report,
  reproduce,
  triage,
  compare,
  history,
  expectations,
];

/** Parses and executes. @throws UsageError, SetupError, or whatever a command throws */
export async function commandLine(args: string[]): Promise<void> {
  await parse(args, COMMANDS);
}

/** Only parses, for command lines that stand in a document. @throws UsageError */
export async function checkCommandLine(args: string[]): Promise<void> {
  await parse(
    args,
    COMMANDS.map((command) => ({ ...command, handler: () => {} })),
  );
}

async function parse(args: string[], commands: readonly object[]): Promise<void> {
  const parser = yargs(joinDashValues(args))
    .scriptName('vfio-conformance')
    .usage(
      '$0 <command>\n\nTells whether Linux VFIO still keeps its promises: boots a kernel in a virtual machine\n' +
        '(or takes a device of this machine), runs the tests and writes reports.',
    )
    .locale('en')
    .wrap(Math.min(100, process.stdout.columns ?? 100))
    .version(programVersion())
    .help()
    .alias('h', 'help')
    .parserConfiguration({ 'duplicate-arguments-array': true, 'camel-case-expansion': false })
    .demandCommand(1, 'which command?')
    .strict()
    .exitProcess(false)
    .fail((message: string | null, error?: Error) => {
      // yargs throws its own complaints as errors too.
      if (error && error.name !== 'YError') throw error;
      throw usageError(message ?? error?.message ?? 'wrong usage', args);
    });
  for (const command of commands) parser.command(command as never);
  await parser.parseAsync();
}

/** Says what was meant by a command or option that does not exist. */
function usageError(message: string, args: readonly string[]): UsageError {
  const unknown = /^Unknown (?:arguments?|commands?): (.*)$/.exec(message)?.[1]?.split(', ') ?? [];
  const commands = COMMANDS.map(({ command }) => String(command).split(' ', 1)[0] ?? '');
  const options = [...Object.keys(RUN_OPTIONS), 'json', 'help', 'version'].map(dashed);
  const words = unknown.map((name) =>
    args.some((arg) => arg.split('=', 1)[0] === dashed(name)) ? dashed(name) : name,
  );
  const guess = words
    .map((word) => didYouMean(word, word.startsWith('--') ? options : commands))
    .find((text) => text !== '');
  const text =
    words.length > 0
      ? `there is no ${words[0]?.startsWith('--') ? 'option' : 'command'} ${words.join(', ')}`
      : message.charAt(0).toLowerCase() + message.slice(1);
  return new UsageError(text, guess ?? '`vfio-conformance --help` explains commands and options');
}

function dashed(name: string): string {
  return `--${name}`;
}
