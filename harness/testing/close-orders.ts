/** All orders in which a user can close what makes up an open device. */
export const CLOSE_ORDERS = [
  ['container', 'group', 'device'],
  ['container', 'device', 'group'],
  ['group', 'container', 'device'],
  ['group', 'device', 'container'],
  ['device', 'container', 'group'],
  ['device', 'group', 'container'],
] as const;
