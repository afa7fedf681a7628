import { isActionable } from '../target/errors.ts';

/** A disk that takes nothing more is no defect of ours, whatever was to be written. */
const FULL = ['ENOSPC', 'EDQUOT', 'EROFS'];

/** What the program says about an error that ends it, and what to do next. */
export function errorText(error: unknown): string {
  if (isActionable(error)) return error.message;
  if (!(error instanceof Error)) return asDefect(String(error));
  const { code = '', message, stack } = error as NodeJS.ErrnoException;
  return FULL.includes(code)
    ? `${message}\n  next: make room on a disk that can be written to, then start again`
    : asDefect(stack ?? message);
}

function asDefect(what: string): string {
  return `${what}\n  next: this is a defect of the harness; please report it with the text above`;
}
