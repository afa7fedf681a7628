/** A block that was executed, and what it was given. */
export interface RecordedRun {
  /** Number of the run, counted from 0 since recorder.begin(). Gaps: runs that were dropped. */
  run: number;
  /** 'here', 'thread N' (of runParallel) or 'process PID' (of an Actor). */
  where: string;
  /** The executed block in one piece, for decodeBlock(): operations, results, arena afterwards. */
  block: Buffer;
  /** The arena before the run: what the operations were given. */
  arenaBefore: Buffer;
}
