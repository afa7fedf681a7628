/**
 * A failed step of the set-up. The message says what went wrong and what to do next; whoever runs
 * the set-up prints it without a stack and exits with {@link SETUP_EXIT_STATUS}.
 */
export class SetupError extends Error {
  /**
   * @param {string} message
   * @param {string} [next] what to do about it
   */
  constructor(message, next) {
    super(next ? `${message}\n  next: ${next}` : message);
    this.name = 'SetupError';
  }
}

/** Exit status for an error of the harness or of its set-up. */
const SETUP_EXIT_STATUS = 3;

/**
 * Runs a command's main function; a {@link SetupError} becomes a message and exit status 3.
 * @param {() => Promise<number | void>} main gives the exit status
 */
export async function exitWith(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    const text =
      error instanceof SetupError
        ? error.message
        : String(/** @type {any} */ (error)?.stack ?? error);
    process.stderr.write(`vfio-conformance: ${text}\n`);
    process.exitCode = SETUP_EXIT_STATUS;
  }
}
