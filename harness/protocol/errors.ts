/**
 * Errors that a person can do something about. Whoever throws one says what to do next; the command
 * line prints both sentences and no stack. Anything else that is thrown is a defect of the harness.
 */
abstract class ActionableError extends Error {
  /** What to do next, as a sentence or a command. */
  readonly next: string;
  abstract readonly exitCode: number;

  constructor(message: string, next: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.next = next;
  }
}

/** The command line asks for something that does not exist or makes no sense. */
export class UsageError extends ActionableError {
  readonly exitCode = 2;
}

/** Something that a run needs is missing or broken: a package, a kernel, a permission, a device. */
export class SetupError extends ActionableError {
  readonly exitCode = 3;
}

export function isActionable(error: unknown): error is UsageError | SetupError {
  return error instanceof ActionableError;
}
