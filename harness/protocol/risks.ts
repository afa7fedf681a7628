/**
 * What a test may do to a real machine beyond using the device that it was given. Each needs the
 * user's consent of its own: `run --allow RISK`. In a virtual machine all are allowed.
 */
export const RISKS = {
  fuzz: 'random programs: a kernel with a bug may crash',
  errors: 'AER errors are injected: the kernel recovers all that is behind the port',
  'hot-reset': 'hot resets: they reach all that is behind the port',
} as const;

export type Risk = keyof typeof RISKS;

export const RISK_NAMES = Object.keys(RISKS) as Risk[];
