/** Names of requirements, as the metadata of a test has them, that the supervising side reads too. */
export const NEEDS = {
  anyDevice: 'a PCI device for VFIO',
  device: (role: string) => `device ${role}`,
  ownMachine: 'a machine of its own (VM)',
  consent: (risk: string) => `consent on a real machine: --allow ${risk}`,
  /** Built in, it cannot be removed again: what follows in the same machine finds other AER registers. */
  aerInject: 'module aer_inject',
  outside: (ability: string) => `outside help: ${ability}`,
} as const;
