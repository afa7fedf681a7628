import type { Assignment, LastCalls, WorkerEvent } from '../protocol/events.ts';

/** How a session ended, as far as the target can tell. */
export interface SessionEnd {
  /**
   * `clean`: the worker said bye. `worker-died`: its process ended without. `guest-panic`: the guest
   * said so (pvpanic, console). `guest-died`: the guest reset or powered off by itself.
   * `infrastructure`: the emulator broke (an assertion of QEMU's, a failed boot), or memory ran out
   * that the user allows: never a verdict about the kernel. `killed`: by {@link Session.kill}.
   */
  kind: 'clean' | 'worker-died' | 'guest-panic' | 'guest-died' | 'infrastructure' | 'killed';
  detail: string;
  /** The last lines of the console or of the worker's stderr: evidence for a report. */
  tail: string[];
}

export interface SessionHandlers {
  /** Called for each line of the worker, in order. A `request` is answered by the target itself, unless {@link answer} does. */
  onEvent(event: WorkerEvent): void;
  /** Called for progress before the worker speaks: `booting Linux 7.3.4`. */
  onProgress(text: string): void;
  /** Answers a request of the worker's; undefined leaves it to the target. */
  answer?(action: string, args: Record<string, unknown>): Promise<unknown> | undefined;
}

/** One boot of a guest, or one worker process: it executes one assignment. */
export interface Session {
  readonly ended: Promise<SessionEnd>;
  /** Evidence of a hang: blocked tasks, registers; what the target can get without the guest's help. */
  hangEvidence(): Promise<string[]>;
  /** After its end: the calls of the test in which it died. @param title of the C program made of them */
  lastCalls(title: string): Promise<LastCalls>;
  /** Ends it at once; resolves when nothing of it is left. Safe to call twice. */
  kill(): Promise<void>;
}

/** What a session is started for; the target adds what it knows of itself. */
export type Work = Pick<Assignment, 'tests' | 'audit' | 'bench' | 'fuzz'>;

/** The fact by which a target that dies with its kernel, this machine, tells one boot from another. */
export const BOOT_ID = 'boot id';

/** Where suites run. */
export interface Target {
  readonly name: string;
  /** Facts for the report's environment: machine, kernel, QEMU version, accelerator, command line. */
  describe(): Record<string, string>;
  /** Roles, abilities and mode that this target adds to every assignment. */
  readonly assignment: Omit<Assignment, 'type' | 'protocol' | keyof Work>;
  /** Factor on every time limit: slow emulation, debug kernels. */
  readonly timeoutScale: number;
  start(work: Work, handlers: SessionHandlers): Promise<Session>;
  /**
   * Gives back what was taken for this target, when no session is left. Safe to call twice.
   * @returns what could not be put back, in words
   */
  release(): string[];
}
