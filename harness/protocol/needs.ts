/** Names of requirements, as the metadata of a test has them, that the supervising side reads too. */
export const NEEDS = {
  anyDevice: 'a PCI device for VFIO',
  device: (role: string) => `device ${role}`,
  ownMachine: 'a machine of its own (VM)',
  consent: (risk: string) => `consent on a real machine: --allow ${risk}`,
  outside: (ability: string) => `outside help: ${ability}`,
} as const;
