import { describe, expect, it } from 'vitest';
import { readResults, resultsFolder, start } from './vfio-conformance.ts';

/** Some of each suite: DMA by a device, interrupts of every kind, errors injected from outside. */
const SOME = [
  'container.device-view.*',
  'container.map-dma.*',
  'group.status.*',
  'group.viability.*',
  'device.info.*',
  'device.config.header.view',
  'irq.intx.automask@edu',
  'irq.msi.*',
  'irq.msix.each-vector@*',
  'aer.inject.*',
];

describe('the conformance suites', () => {
  it('pass on the default kernel, without a skip', async () => {
    const folder = resultsFolder();
    const { code, output } = await start(['run', ...SOME, '--results', folder]).finished;
    expect(output.trimEnd().split('\n').at(-1)).toBe(`HTML report: ${folder}/report.html`);
    const { summary, run } = readResults(folder);
    expect(code, output).toBe(0);
    expect(run.outcome).toBe('finished');
    expect(summary.pass).toBeGreaterThan(60);
    expect(summary.skip).toBe(0);
  });
});
