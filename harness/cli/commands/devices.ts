import type { CommandModule } from 'yargs';
import { colorsFor } from '../../../reports/terminal/style.ts';
import { isRoot } from '../../target/local/choose-devices.ts';
import { leftoverPlans } from '../../target/local/leftovers.ts';
import { isBridge, readPciInventory, type PciFunction } from '../../target/local/pci-inventory.ts';
import { readUses } from '../../target/local/read-uses.ts';
import { takenWith, untestable } from '../../target/local/taken-with.ts';
import { suitesFor } from '../suites-for.ts';
import { listTests } from '../test-list.ts';

/** A function with all that decides whether and how it can be tested. */
export interface DeviceRow extends PciFunction {
  /** What uses it and all that would be taken with it now, in words. */
  uses: string[];
  /** Whether `--force` takes all of these uses away. */
  forcible: boolean;
  /** Why it cannot be tested as the machine is, whoever uses it; null if it can. */
  obstacle: string | null;
  /** What would help; null if it can be tested. */
  next: string | null;
  /** Tests that it could serve, by suite. */
  suites: Record<string, number>;
}

export const devices: CommandModule<object, { json: boolean }> = {
  command: 'devices',
  describe: "print this machine's PCI devices, what uses them, and how they could be tested",
  builder: (yargs) =>
    yargs
      .option('json', { describe: 'as a JSON array', type: 'boolean', default: false })
      .example('$0 devices', 'what `run --device BDF` could take here'),
  handler: async ({ json }) => {
    const rows = await readRows();
    if (json) {
      process.stdout.write(JSON.stringify(rows, null, 2) + '\n');
      return;
    }
    process.stdout.write(renderDevices(rows, colorsFor(process.stdout).bold));
    if (!isRoot())
      process.stdout.write(
        '\nRoot is shown more: what disks at rest are part of, and what processes of others have open.\n',
      );
    for (const { madeAt } of leftoverPlans())
      process.stdout.write(
        `\nThe run of ${madeAt} was killed and has not given its devices back: vfio-conformance restore\n`,
      );
  },
};

async function readRows(): Promise<DeviceRow[]> {
  const functions = readPciInventory();
  const uses = readUses(functions);
  const tests = await listTests();
  return functions.map((one) => {
    const taken = takenWith([one], functions);
    const obstacle = untestable(one, taken);
    const used = [...new Set([one, ...taken.members, ...taken.removed])].flatMap(({ bdf }) =>
      (uses.get(bdf) ?? []).map((use) => ({ bdf, ...use })),
    );
    return {
      ...one,
      uses: used.map(({ bdf, what }) => (bdf === one.bdf ? what : `${bdf}: ${what}`)),
      forcible: used.every(({ forcible }) => forcible),
      obstacle: obstacle?.what ?? null,
      next: obstacle?.next ?? null,
      suites: obstacle === null ? suitesFor(one, tests) : {},
    };
  });
}

/** Bridges are left out: they stay with the kernel. */
export function renderDevices(
  rows: readonly DeviceRow[],
  bold: (text: string) => string = String,
): string {
  if (rows.length === 0)
    return 'This machine shows no PCI devices. `vfio-conformance run` tests in a virtual machine.\n';
  const endpoints = rows.filter((row) => !isBridge(row));
  const table = [
    ['device', 'id', 'driver', 'group', 'reset', 'name'],
    ...endpoints.map((row) => [
      row.bdf,
      row.id,
      row.driver ?? '-',
      row.iommuGroup === null ? '-' : String(row.iommuGroup),
      row.reset.join(' ') || '-',
      row.name,
    ]),
  ];
  const widths = table[0]!.map((_, column) =>
    Math.max(...table.map((cells) => cells[column]!.length)),
  );
  const [head = '', ...lines] = table.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
  const indent = ' '.repeat(widths[0]! + 2);
  const blocks = endpoints.map((row, index) =>
    [bold(lines[index]!), ...details(row).map((line) => indent + line)].join('\n'),
  );
  const advice = new Set(
    endpoints.filter(({ next }) => next !== null).map((row) => `\n${row.obstacle}: ${row.next}`),
  );
  return [head, ...blocks, ...advice].join('\n') + '\n';
}

/** What does not fit into columns: why a device cannot be had, or how it can. */
function details(row: DeviceRow): string[] {
  const lines: string[] = [];
  if (row.groupMates.length > 0) lines.push(`shares its group with ${row.groupMates.join(', ')}`);
  lines.push(...row.uses.map((use) => `in use: ${use}`));
  if (row.obstacle !== null) return [...lines, `cannot be tested: ${row.obstacle}`];
  const suites = Object.entries(row.suites).map(([name, count]) => `${name} ${count}`);
  lines.push(`tests: ${suites.join(', ')}`);
  const command = `vfio-conformance run --device ${row.bdf}`;
  if (row.uses.length === 0) lines.push(command);
  else if (row.forcible) lines.push(`takes it from what uses it: ${command} --force`);
  return lines;
}
