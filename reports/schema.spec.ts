import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { reduceJournal } from './reduce.ts';
import type { RunResults } from './results.ts';
import { asLines, sampleBegin, sampleRun, sampleTest } from './samples.ts';

const schema = JSON.parse(
  readFileSync(new URL('./results.schema.json', import.meta.url), 'utf8'),
) as Record<string, unknown>;
const ajv = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true });
ajv.addFormat('date-time', {
  type: 'string',
  validate: (text: string) => new Date(text).toISOString() === text,
});
const validate = ajv.compile(schema);

function errorsOf(results: unknown): string[] {
  validate(JSON.parse(JSON.stringify(results)));
  return (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
}

describe('results.schema.json', () => {
  it('admits a run with every status', () => {
    expect(errorsOf(reduceJournal(sampleRun()))).toEqual([]);
  });

  it('admits a run that was cut off', () => {
    expect(errorsOf(reduceJournal(sampleRun().slice(0, 6)))).toEqual([]);
    expect(errorsOf(reduceJournal(asLines([sampleBegin([sampleTest('a.b')])])))).toEqual([]);
  });

  it('refuses what is missing, misspelt or of another version', () => {
    const results = reduceJournal(sampleRun());
    expect(errorsOf({ ...results, schema: 2 })).not.toEqual([]);
    expect(errorsOf({ ...results, extra: 1 })).not.toEqual([]);
    const { notRun: _, ...run } = results.run;
    expect(errorsOf({ ...results, run })).not.toEqual([]);
    const tests = results.tests.map((test) => ({ ...test, status: 'ok' }));
    expect(errorsOf({ ...results, tests } as unknown as RunResults)).not.toEqual([]);
  });
});
