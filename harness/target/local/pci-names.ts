import { tryReadText } from './files.ts';

/** Where distributions keep the PCI ID database (Debian: package pci.ids, or hwdata). */
const DATABASES = ['/usr/share/misc/pci.ids', '/usr/share/hwdata/pci.ids'];

/** Base classes of PCI, for machines without the database (PCI Code and ID Assignment, part 1). */
const CLASSES: Readonly<Record<string, string>> = {
  '01': 'mass storage',
  '02': 'network',
  '03': 'display',
  '04': 'multimedia',
  '05': 'memory',
  '06': 'bridge',
  '07': 'communication',
  '08': 'system peripheral',
  '09': 'input',
  '0c': 'serial bus',
  '0d': 'wireless',
  '10': 'encryption',
  '12': 'accelerator',
};

let database: Map<string, string> | undefined;

/**
 * What a function is, in words: vendor and device if the PCI ID database is installed, else its class.
 * @param id `8086:10c9`
 * @param classCode base class and subclass: `0200`
 */
export function pciName(id: string, classCode: string): string {
  database ??= readDatabase();
  const known = database.get(id);
  const vendor = database.get(id.slice(0, 4));
  if (known !== undefined && vendor !== undefined) return `${vendor} ${known}`;
  const kind = CLASSES[classCode.slice(0, 2)] ?? 'other';
  return vendor === undefined ? kind : `${vendor}, ${kind}`;
}

function readDatabase(): Map<string, string> {
  const text = DATABASES.map(tryReadText).find((found) => found !== null) ?? '';
  return parsePciIds(text);
}

/** Names by `vendor` and by `vendor:device` (pci.ids: a tab before each device, two before a subsystem). */
function parsePciIds(text: string): Map<string, string> {
  const names = new Map<string, string>();
  let vendor = '';
  for (const line of text.split('\n')) {
    // The classes come last.
    if (line.startsWith('C ')) break;
    const match = /^(\t?)([0-9a-f]{4}) {2}(.*)$/.exec(line);
    if (!match) continue;
    const [, tab, number = '', name = ''] = match;
    if (tab === '') vendor = number;
    names.set(tab === '' ? number : `${vendor}:${number}`, name);
  }
  return names;
}
