import type { CommandModule } from 'yargs';
import type { TestMeta } from '../../protocol/test.ts';
import { selectTests } from '../../runner/select.ts';
import { runInvocation } from '../program.ts';
import { listTests } from '../test-list.ts';

interface ShowArguments {
  ids: string[];
  json: boolean;
}

export const show: CommandModule<object, ShowArguments> = {
  command: 'show <ids..>',
  describe: 'print what a test promises, covers and needs',
  builder: (yargs) =>
    yargs
      .positional('ids', {
        describe: 'ids, beginnings of ids, globs or suite files',
        type: 'string',
        array: true,
        demandOption: true,
      })
      .option('json', { describe: 'as a JSON array', type: 'boolean', default: false })
      .example('$0 show container.map-dma', 'everything known about these tests'),
  handler: async ({ ids, json }) => {
    const tests = selectTests(await listTests(), ids);
    process.stdout.write(
      json ? JSON.stringify(tests, null, 2) + '\n' : tests.map(describeTest).join('\n'),
    );
  },
};

/** A test's metadata as lines for people. */
function describeTest(test: TestMeta): string {
  const kernels = [
    ...(test.since ? [`since ${test.since}`] : []),
    ...(test.until ? [`until ${test.until}`] : []),
  ];
  const rows: [string, string[]][] = [
    ['covers', test.covers],
    ['source', test.source],
    ['needs', test.needs],
    ['kernels', kernels],
    ['fixes', test.fixes],
    ['peer checks', test.peer],
    ['file', [test.file]],
    ['time limit', [`${test.timeoutMs / 1000} s`]],
    ['run it', [`${runInvocation()} ${test.id}`]],
  ];
  const lines = [test.id, `  ${test.title}`];
  for (const [label, values] of rows) {
    values.forEach((value, index) => {
      lines.push(`  ${(index === 0 ? label : '').padEnd(12)} ${value}`);
    });
  }
  return lines.join('\n') + '\n';
}
