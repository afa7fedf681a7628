/** What a comparison says of a run itself. */
export interface ComparedRun {
  started: string;
  kernel: string;
  machine: string;
}

export function comparedRun({ started, kernel, machine }: ComparedRun): ComparedRun {
  return { started, kernel, machine };
}
