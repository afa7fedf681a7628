import { describe, expect, it } from 'vitest';
import { sampleTest } from '../../reports/samples.ts';
import { NEEDS } from '../protocol/needs.ts';
import { selectTests, shuffle, spoilersLast } from './select.ts';
import { suggest } from './suggest.ts';

const tests = [
  sampleTest('container.map-dma.overlap', { file: 'suites/container/map-dma.test.ts' }),
  sampleTest('container.map-dma.zero', { file: 'suites/container/map-dma.test.ts' }),
  sampleTest('container.open', { file: 'suites/container/open.test.ts' }),
  sampleTest('device.reset@igb', { file: 'suites/device/reset.test.ts' }),
  sampleTest('device.reset@nvme', { file: 'suites/device/reset.test.ts' }),
];
const ids = (...patterns: string[]): string[] => selectTests(tests, patterns).map(({ id }) => id);

describe('selectTests', () => {
  it.each<[string, string[], number[]]>([
    ['nothing said', [], [0, 1, 2, 3, 4]],
    ['an id', ['container.open'], [2]],
    ['a suite', ['container'], [0, 1, 2]],
    ['the beginning of ids', ['container.map-dma'], [0, 1]],
    ['all device kinds of a test', ['device.reset'], [3, 4]],
    ['a glob', ['*.reset@*'], [3, 4]],
    ['a glob over the device kind', ['*@nvme'], [4]],
    ['alternatives', ['container.{open,map-dma.zero}'], [1, 2]],
    ['a suite file', ['suites/device/reset.test.ts'], [3, 4]],
    ['the end of its path', ['device/reset.test.ts'], [3, 4]],
    ['a folder', ['suites/container/'], [0, 1, 2]],
    [
      'several, each test once, in the order of the list',
      ['device', 'container.open', '*'],
      [0, 1, 2, 3, 4],
    ],
  ])('%s', (_, patterns, indices) => {
    expect(ids(...patterns)).toEqual(indices.map((index) => tests[index]?.id));
  });

  it('does not take a beginning that ends within a word', () => {
    expect(() => ids('container.map')).toThrow(/no test is called/);
  });

  it('says what was probably meant', () => {
    expect(() => ids('container.map-dma.overlop')).toThrow(
      /did you mean container\.map-dma\.overlap\b/,
    );
    expect(() => ids('contaner')).toThrow(/did you mean container\?/);
    expect(() => ids('overlap')).toThrow(/container\.map-dma\.overlap/);
    expect(() => ids('something-else-entirely')).toThrow(/vfio-conformance list/);
    expect(() => ids('*.nothing')).toThrow(/no test/);
  });
});

describe('shuffle', () => {
  it('depends on the seed alone and loses nothing', () => {
    const numbers = Array.from({ length: 50 }, (_, i) => i);
    expect(shuffle(numbers, 'x')).toEqual(shuffle(numbers, 'x'));
    expect(shuffle(numbers, 'x')).not.toEqual(shuffle(numbers, 'y'));
    expect(shuffle(numbers, 'x')).not.toEqual(numbers);
    expect(shuffle(numbers, 'x').sort((a, b) => a - b)).toEqual(numbers);
  });
});

describe('suggest', () => {
  it('puts the nearest first and nothing far', () => {
    expect(suggest('kernl', ['kernels', 'kernel', 'machine'])).toEqual(['kernel', 'kernels']);
    expect(suggest('zzzzzz', ['kernel'])).toEqual([]);
  });
});

it('puts tests that spoil a machine behind the others and keeps the order otherwise', () => {
  const spoils = { needs: [NEEDS.ownMachine, NEEDS.aerInject] };
  const mixed = [
    sampleTest('aer.a', spoils),
    sampleTest('aer.b'),
    sampleTest('aer.c', spoils),
    sampleTest('irq.a'),
  ];
  expect(spoilersLast(mixed).map(({ id }) => id)).toEqual(['aer.b', 'irq.a', 'aer.a', 'aer.c']);
});
