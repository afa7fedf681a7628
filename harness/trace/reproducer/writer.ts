/** What the parts of the program have in common while it is written. */
import type { Recording } from './recording.ts';
import type { PartName } from './runtime.ts';

export class Writer {
  readonly recording: Recording;
  /** Parts of the runtime that the program uses. */
  readonly used = new Set<PartName>();
  /** Remarks for the comment at the top: what the program cannot repeat. */
  readonly notes = new Set<string>();
  /** System calls that older headers may not know. */
  readonly newSyscalls = new Set<string>();
  /** Functions that threads and other processes execute. */
  readonly functions: string[] = [];
  /** Other processes, as `process PID`. */
  readonly actors: string[] = [];
  /** Positions of the runs that they make. */
  readonly actorRuns: number[] = [];

  constructor(recording: Recording) {
    this.recording = recording;
  }
}
