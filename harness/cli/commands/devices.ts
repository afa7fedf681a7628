import type { CommandModule } from 'yargs';
import { readPciInventory, type PciFunction } from '../../target/local/pci-inventory.ts';

export const devices: CommandModule<object, { json: boolean }> = {
  command: 'devices',
  describe: "print this machine's PCI devices, IOMMU groups and drivers, and what could be tested",
  builder: (yargs) =>
    yargs
      .option('json', { describe: 'as a JSON array', type: 'boolean', default: false })
      .example('$0 devices', 'what `run --device BDF` could take here'),
  handler: ({ json }) => {
    const functions = readPciInventory();
    process.stdout.write(
      json ? JSON.stringify(functions, null, 2) + '\n' : renderDevices(functions),
    );
  },
};

export function renderDevices(functions: PciFunction[]): string {
  if (functions.length === 0) {
    return 'This machine shows no PCI devices. `vfio-conformance run` tests in a virtual machine.\n';
  }
  const rows = [
    ['device', 'id', 'class', 'group', 'driver', 'reset', 'to be tested with run --device'],
    ...functions.map((one) => [
      one.bdf,
      one.id,
      one.class,
      one.iommuGroup === null ? '-' : String(one.iommuGroup),
      one.driver ?? '-',
      one.reset.join(' ') || '-',
      one.obstacles.length === 0 ? 'yes' : `no: ${one.obstacles.join('; ')}`,
    ]),
  ];
  const widths = rows[0]?.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths?.[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return lines.join('\n') + '\n';
}
