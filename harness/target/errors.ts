import { SetupError } from '../../setup/failure.mjs';

/**
 * The command line asks for something that does not exist or makes no sense. Like a
 * {@link SetupError} it says what to do next; both are printed without a stack.
 */
export class UsageError extends Error {
  /** @param next what to do about it */
  constructor(message: string, next: string) {
    super(`${message}\n  next: ${next}`);
    this.name = 'UsageError';
  }
}

/** A kernel that was built without what a machine needs: not wrong, but nothing to test. */
export class UnsupportedError extends SetupError {}

export { SetupError };

/** Errors that a person can do something about; anything else that is thrown is a defect of ours. */
export function isActionable(error: unknown): error is UsageError | SetupError {
  return error instanceof UsageError || error instanceof SetupError;
}
