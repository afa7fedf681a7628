import type { CommandModule } from 'yargs';
import { selectTests } from '../../runner/select.ts';
import { listBenches, listTests } from '../test-list.ts';

interface ListArguments {
  ids?: string[];
  json: boolean;
  benchmarks: boolean;
}

export const list: CommandModule<object, ListArguments> = {
  command: 'list [ids..]',
  describe: 'print the tests, or the benchmarks; needs neither root nor a device nor a kernel',
  builder: (yargs) =>
    yargs
      .positional('ids', {
        describe: 'ids, beginnings of ids, globs or suite files; all tests if none',
        type: 'string',
        array: true,
      })
      .option('json', {
        describe: 'all metadata, as a JSON array',
        type: 'boolean',
        default: false,
      })
      .option('benchmarks', {
        describe: 'those of `bench` instead',
        type: 'boolean',
        default: false,
      })
      .example('$0 list', 'ids and titles of all tests')
      .example("$0 list 'container.*'", 'those of one suite')
      .example(
        "$0 list --json | jq -r '.[].covers[]' | sort -u",
        'the uAPI items that have a test',
      ),
  handler: async ({ ids, json, benchmarks }) => {
    const tests = selectTests(await (benchmarks ? listBenches() : listTests()), ids ?? []);
    if (json) {
      process.stdout.write(JSON.stringify(tests, null, 2) + '\n');
      return;
    }
    const width = Math.min(48, Math.max(...tests.map(({ id }) => id.length)));
    for (const { id, title } of tests) process.stdout.write(`${id.padEnd(width)}  ${title}\n`);
  },
};
