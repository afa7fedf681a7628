import { existsSync, readFileSync } from 'node:fs';
import picomatch from 'picomatch';
import { UsageError } from '../target/errors.ts';

/** A lie that need not be noticed. */
export interface AuditException {
  reason: string;
  matches(id: string, lie: string): boolean;
}

/**
 * Reads exceptions, one a line: `ID-GLOB | LIE # REASON`; `*` in LIE stands for anything.
 * @throws UsageError naming the line that is none.
 */
export function readAuditExceptions(path: string): AuditException[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line, index) => {
      if (line.trim() === '' || line.startsWith('#')) return [];
      const parts = /^(.+?) \| (.+?)\s+# (.+)$/.exec(line);
      if (!parts) {
        throw new UsageError(
          `${path}:${index + 1}: not 'ID | LIE # REASON'`,
          'give every exception its reason',
        );
      }
      const [, id = '', lie = '', reason = ''] = parts;
      const isId = picomatch(id);
      const pattern = new RegExp(`^${lie.split('*').map(escape).join('.*')}$`);
      return [
        { reason, matches: (given: string, told: string) => isId(given) && pattern.test(told) },
      ];
    });
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
