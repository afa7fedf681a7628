import { join } from 'node:path';
import {
  Journal,
  JOURNAL_FILE,
  type JournalEvent,
  type JournalLine,
} from '../../reports/journal.ts';
import { SetupError } from '../target/errors.ts';

/** The journal of a run for which there may be no room: what is written stays whole, and can be resumed. */
export class RunJournal {
  readonly #journal: Journal;
  readonly #directory: string;
  readonly #command: 'run' | 'fuzz';
  readonly #enough: AbortController;
  #lost: SetupError | null = null;

  /**
   * @param command that resumes the run
   * @param enough is aborted as soon as nothing more can be written
   */
  constructor(directory: string, command: 'run' | 'fuzz', enough: AbortController) {
    this.#journal = new Journal(join(directory, JOURNAL_FILE));
    this.#directory = directory;
    this.#command = command;
    this.#enough = enough;
  }

  /** Why nothing more can be written, or null. Then there is no room for reports either. */
  get lost(): SetupError | null {
    return this.#lost;
  }

  /** The line as it was written, or null if it was not. */
  append(event: JournalEvent, lane = 0): JournalLine | null {
    if (this.#lost) return null;
    try {
      return this.#journal.append(event, new Date(), lane);
    } catch (error) {
      this.#lost = new SetupError(
        `nothing more can be written to ${this.#directory}: ${(error as Error).message}`,
        this.#journal.isEmpty
          ? 'make room there, or choose another directory with --results'
          : `what is there is whole: make room, then \`vfio-conformance ${this.#command} --resume ${this.#directory}\``,
      );
      this.#enough.abort();
      return null;
    }
  }

  close(): void {
    this.#journal.close();
  }
}
