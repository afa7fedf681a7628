import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { complaints } from './log-patterns.ts';

const SAMPLES = join(import.meta.dirname, '../../reports/splat/samples');

it.each(readdirSync(SAMPLES))('finds what fails a test in %s', (name) => {
  const records = readFileSync(join(SAMPLES, name), 'utf8').split('\n');
  const headlines =
    /WARNING: |BUG: |UBSAN: |INFO: task .* blocked for|Oops: |list_del corruption|ODEBUG: |duplicate filename|kobject_add_internal failed/;
  const all = records.filter((record) => headlines.test(record));
  expect(all.length).toBeGreaterThan(0);
  expect(all.filter((record) => complaints([record], []).length === 0)).toEqual([]);
});
