const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
/** npm hands on what the terminal has sent to all: within this time it is the same signal once more. */
const SAME_MS = 1000;

/**
 * Turns the signals that end a program into an AbortSignal, whose reason is the signal's name. The
 * second signal ends the process at once: nothing that it started outlives it, but the reports may
 * then be incomplete (`vfio-conformance report DIR` makes them from the journal).
 */
export function interruption(announce: (name: string) => void): {
  signal: AbortSignal;
  release(): void;
} {
  const controller = new AbortController();
  let first = 0;
  const handle = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      if (performance.now() - first > SAME_MS) process.exit(130);
      return;
    }
    first = performance.now();
    announce(name);
    controller.abort(name);
  };
  for (const name of SIGNALS) process.on(name, handle);
  return {
    signal: controller.signal,
    release: () => {
      for (const name of SIGNALS) process.off(name, handle);
    },
  };
}
