import type { UapiItem } from '../protocol/uapi.ts';
import {
  CAPABILITY_PERMISSIONS,
  EXTENDED_PERMISSIONS,
  HEADER_PERMISSIONS,
  msiRegisters,
  type RegisterPermission,
  type StructurePermission,
} from './config-permissions.ts';

/** A structure under its name in config-model.ts, and its key in the coverage table. */
interface NamedStructure {
  name: string;
  key: string;
  rule: StructurePermission;
}

const STRUCTURES: readonly NamedStructure[] = [
  { name: HEADER_PERMISSIONS.name, key: 'PCI_STD_HEADER', rule: HEADER_PERMISSIONS },
  ...CAPABILITY_PERMISSIONS.map((rule) => ({
    name: rule.name,
    key: `PCI_CAP_ID_${rule.name}`,
    rule,
  })),
  ...EXTENDED_PERMISSIONS.map((rule) => ({
    name: `ext-${rule.name}`,
    key: `PCI_EXT_CAP_ID_${rule.name}`,
    rule,
  })),
];

function registersOf({ name, registers }: StructurePermission): readonly RegisterPermission[] {
  if (name !== 'MSI') return registers;
  const wide = msiRegisters(true, true);
  const narrow = msiRegisters(false, true);
  return [...wide, ...narrow.filter((one) => wide.every((other) => other.name !== one.name))];
}

function keysOf({ key, rule }: NamedStructure): string[] {
  return [key, ...registersOf(rule).map(({ name }) => `${key}:register:${name}`)];
}

/** The header and the capabilities that a user sees, and each of their registers that is not just read-only. */
export function configItems(): UapiItem[] {
  return STRUCTURES.flatMap((structure) =>
    keysOf(structure).map((key) => ({ key, ioctl: structure.key, fd: 'device' })),
  );
}

/**
 * What a test covers that looks at all of a structure.
 * @param name as in config-model.ts: `EXP`, `ext-ERR`.
 * @param absent registers that no device in the test's roles has.
 */
export function coversConfig(name: string, absent: readonly string[] = []): string[] {
  const structure = STRUCTURES.find((one) => one.name === name);
  if (!structure) throw new Error(`'${name}' is no structure of config space that VFIO shows`);
  return keysOf(structure).filter((key) => !absent.includes(key.split(':').at(-1)!));
}
