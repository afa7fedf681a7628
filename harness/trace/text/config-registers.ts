/** Names of the registers in a device's config space. */
import * as regs from '../../abi/pci-regs.ts';

const HEADER = [
  'PCI_VENDOR_ID',
  'PCI_DEVICE_ID',
  'PCI_COMMAND',
  'PCI_STATUS',
  'PCI_CLASS_REVISION',
  'PCI_CLASS_PROG',
  'PCI_CLASS_DEVICE',
  'PCI_CACHE_LINE_SIZE',
  'PCI_LATENCY_TIMER',
  'PCI_HEADER_TYPE',
  'PCI_BIST',
  'PCI_BASE_ADDRESS_0',
  'PCI_BASE_ADDRESS_1',
  'PCI_BASE_ADDRESS_2',
  'PCI_BASE_ADDRESS_3',
  'PCI_BASE_ADDRESS_4',
  'PCI_BASE_ADDRESS_5',
  'PCI_CARDBUS_CIS',
  'PCI_SUBSYSTEM_VENDOR_ID',
  'PCI_SUBSYSTEM_ID',
  'PCI_ROM_ADDRESS',
  'PCI_CAPABILITY_LIST',
  'PCI_INTERRUPT_LINE',
  'PCI_INTERRUPT_PIN',
  'PCI_MIN_GNT',
  'PCI_MAX_LAT',
] as const;

const HEADER_NAMES = HEADER.map((name) => ({ name, offset: regs[name] }));

/** Id → name; the aliases `_MAX` and `_MASK` are no ids. */
function idNames(prefix: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const [name, value] of Object.entries(regs))
    if (name.startsWith(prefix) && !/_(MAX|MASK)$/.test(name)) names.set(value, name);
  return names;
}

const CAPABILITIES = idNames('PCI_CAP_ID_');
const EXTENDED = idNames('PCI_EXT_CAP_ID_');

function named(base: string, offset: number): string {
  return offset === 0 ? base : `${base}+0x${offset.toString(16)}`;
}

/** The nearest of these places at or below `offset`. */
function below(places: { name: string; offset: number }[], offset: number): string | undefined {
  const found = places
    .filter((place) => place.offset <= offset)
    .sort((a, b) => b.offset - a.offset)[0];
  return found && named(found.name, offset - found.offset);
}

/**
 * The name of the register at `offset`: `PCI_COMMAND`, `PCI_CAP_ID_MSI+0x2`. Where capabilities lie
 * is taken from the bytes of config space known so far; what is not known there keeps its number.
 */
export function configRegister(offset: number, known: ReadonlyMap<number, number>): string {
  const number = `0x${offset.toString(16)}`;
  if (offset < regs.PCI_STD_HEADER_SIZEOF) return below(HEADER_NAMES, offset) ?? number;
  const places = offset < regs.PCI_CFG_SPACE_SIZE ? conventional(known) : extended(known);
  return below(places, offset) ?? number;
}

function conventional(known: ReadonlyMap<number, number>): { name: string; offset: number }[] {
  const places: { name: string; offset: number }[] = [];
  let at = known.get(regs.PCI_CAPABILITY_LIST);
  while (at !== undefined && at >= regs.PCI_STD_HEADER_SIZEOF && places.length < 48) {
    const place = at & ~3;
    const id = known.get(place);
    if (id === undefined) break;
    places.push({ name: CAPABILITIES.get(id) ?? `capability 0x${id.toString(16)}`, offset: place });
    at = known.get(place + regs.PCI_CAP_LIST_NEXT);
  }
  return places;
}

function extended(known: ReadonlyMap<number, number>): { name: string; offset: number }[] {
  const places: { name: string; offset: number }[] = [];
  let at: number = regs.PCI_CFG_SPACE_SIZE;
  while (at >= regs.PCI_CFG_SPACE_SIZE && places.length < 480) {
    const bytes = [0, 1, 2, 3].map((i) => known.get(at + i));
    if (bytes.includes(undefined)) break;
    const header = Buffer.from(bytes as number[]).readUInt32LE();
    const id = header & 0xffff;
    places.push({ name: EXTENDED.get(id) ?? `capability 0x${id.toString(16)}`, offset: at });
    at = (header >>> 20) & 0xffc;
  }
  return places;
}
