/** Sends a request to the supervisor and waits for its answer. @throws Error with the supervisor's words. */
export type AskOutside = (action: string, args: Record<string, unknown>) => unknown;

let ask: AskOutside = () => {
  throw new Error('nobody outside answers: declare the ability in the needs of the test');
};

/** Connects the tests with the supervisor; called once by the worker. */
export function setOutside(given: AskOutside): void {
  ask = given;
}

/** A command of QEMU's human monitor; its output. Needs `ability('hmp')`. */
export function hmp(command: string): string {
  return String(ask('hmp', { command }));
}

/** Asks the outside for anything else; what it answers. */
export function askOutside(action: string, args: Record<string, unknown> = {}): unknown {
  return ask(action, args);
}
