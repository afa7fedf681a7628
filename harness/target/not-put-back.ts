/** Tells of what could not be put back, and what to do about it. */
export function notPutBack(problems: readonly string[]): string {
  return [
    'not everything could be put back:',
    ...problems.map((problem) => `  ${problem}`),
    '  next: mend that and run `vfio-conformance restore`',
  ].join('\n');
}
