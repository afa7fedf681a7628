import type { DossierFacts } from '../../../reports/dossier.ts';
import { EXIT } from '../../../reports/exit-code.ts';
import { splatsOf } from '../../../reports/splat/title.ts';

/** What came of running a reproducer. */
export interface Attempt {
  /** Its exit status; null if it never ended or the machine died with it. */
  status: number | null;
  /** Set if the kernel panicked meanwhile: its last words. */
  panic: string | undefined;
  output: string;
  /** What the kernel said from the program's start on. */
  kernelLog: string[];
}

export interface Verdict {
  /** `happens`, `gone`: as the program or the kernel log shows. `died`: the kernel, or it hangs. `unknown`: neither can be told. */
  kind: 'happens' | 'gone' | 'died' | 'unknown';
  text: string;
}

/** The exit codes of `reproduce`, as its `--help` documents them. */
export const REPRODUCE_EXIT: Record<Verdict['kind'], number> = {
  gone: EXIT.asExpected,
  happens: EXIT.failures,
  unknown: EXIT.setup,
  died: EXIT.died,
};

/**
 * Whether a failure still happens. What the program says decides, but where the kernel's complaint
 * was the failure: then it is the complaint that must come again.
 */
export function verdictOf(facts: Pick<DossierFacts, 'kind' | 'title'>, attempt: Attempt): Verdict {
  const { status, panic, kernelLog } = attempt;
  if (panic !== undefined) return { kind: 'died', text: `the kernel died: ${panic}` };
  if (status === null) {
    return { kind: 'died', text: 'the program did not end: it hangs, or the machine went down' };
  }
  const titles = splatsOf(kernelLog).map(({ title }) => title);
  if (titles.includes(facts.title)) {
    return { kind: 'happens', text: `it still happens: ${facts.title}` };
  }
  if (facts.kind === 'kernel-log') {
    const instead = titles.length > 0 ? `, but it says: ${titles.join('; ')}` : '';
    return { kind: 'gone', text: `the kernel does not complain of '${facts.title}'${instead}` };
  }
  if (facts.kind === 'leak') {
    return {
      kind: 'unknown',
      text: 'the calls can be made again, but only the test itself notices what they leave behind',
    };
  }
  if (status === 0) {
    return { kind: 'happens', text: 'it still happens: the deciding call answers as recorded' };
  }
  if (status === 1) {
    return { kind: 'gone', text: 'it does not happen: the deciding call answers otherwise' };
  }
  return { kind: 'unknown', text: `the program could not do its work (exit status ${status})` };
}
