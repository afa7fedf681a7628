import { distance } from 'fastest-levenshtein';

/** The known names most like the unknown one, the likeliest first; none if nothing is near. */
export function suggest(unknown: string, known: Iterable<string>, limit = 3): string[] {
  const wanted = unknown.toLowerCase();
  return [...new Set(known)]
    .map((name) => ({ name, far: farness(wanted, name.toLowerCase()) }))
    .filter(({ far }) => far <= Math.max(2, wanted.length * 0.4))
    .sort((a, b) => a.far - b.far || a.name.localeCompare(b.name))
    .slice(0, limit)
    .map(({ name }) => name);
}

/** Edit distance; a name that contains the wanted one is near, however long it is. */
function farness(wanted: string, name: string): number {
  const edits = distance(wanted, name);
  if (wanted.length >= 3 && name.includes(wanted)) return Math.min(edits, 1);
  return edits;
}

/** ` (did you mean a or b?)`, or nothing. */
export function didYouMean(unknown: string, known: Iterable<string>): string {
  const names = suggest(unknown, known);
  return names.length > 0 ? `did you mean ${names.join(' or ')}?` : '';
}
