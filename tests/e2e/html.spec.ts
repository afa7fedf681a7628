import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, REPORT_PAGE } from '../../setup/build.mjs';
import type { CoverageGoal } from '../../reports/coverage.ts';
import { findBenches } from '../../reports/html/benches.ts';
import { writeHtml } from '../../reports/html/write.ts';
import { reduceJournal } from '../../reports/reduce.ts';
import type { FoundRun, RunResults, TestResult } from '../../reports/results.ts';
import { asLines, HOSTILE, sampleBegin, sampleRun, sampleTest } from '../../reports/samples.ts';
import { openFile, startBrowser } from './browser.ts';
import { writeBenchDirectory } from './html-pages.ts';

const folder = mkdtempSync(join(tmpdir(), 'vfio-conformance-html-'));
const GOAL: CoverageGoal = {
  uapi: {
    items: [
      { key: 'VFIO_IOMMU_MAP_DMA', ioctl: 'VFIO_IOMMU_MAP_DMA', fd: 'container' },
      { key: 'VFIO_DEVICE_RESET', ioctl: 'VFIO_DEVICE_RESET', fd: 'device' },
      { key: 'VFIO_IOMMU_ENABLE', ioctl: 'VFIO_IOMMU_ENABLE', fd: 'container' },
    ],
    errnos: ['EINVAL'],
  },
  reasons: [],
};

/** What a page shows after a while, also on a machine that has more to do. */
const soon = <T>(read: () => T) => expect.poll(read, { timeout: 60_000 });

/** Would run or load something if a browser took it for markup. */
const MARKUP =
  '</script><script>hacked=1</script><img src="http://hacked.invalid/" onerror="hacked=1">' +
  '<!--<script>" onmouseover="hacked=1" javascript:hacked=1';

let browser: Browser;
beforeAll(async () => {
  await build([REPORT_PAGE]);
  browser = await startBrowser();
});
afterAll(async () => {
  await browser.close();
  rmSync(folder, { recursive: true });
});

/** Writes the page of some runs. */
function page(name: string, ...runs: RunResults[]): string {
  const path = join(folder, `${name}.html`);
  const found = runs.map((results, index): FoundRun => ({
    directory: `results/${index}`,
    results,
  }));
  writeHtml(path, { runs: found, goal: GOAL, threshold: 5 });
  return path;
}

/** A run on a kernel in which these tests passed, but for what is given. */
function run(
  kernel: string,
  ids: readonly string[],
  others: Record<string, Partial<TestResult>> = {},
): RunResults {
  const results = reduceJournal(asLines([sampleBegin([])]));
  const [template] = reduceJournal(sampleRun()).tests as [TestResult];
  results.run.kernel = kernel;
  results.tests = ids.map((id) => ({
    ...template,
    ...sampleTest(id),
    since: null,
    until: null,
    status: 'pass',
    ...others[id],
  }));
  for (const { status } of results.tests) results.summary[status] += 1;
  return results;
}

const failed = (message: string): Partial<TestResult> => ({
  status: 'fail',
  failure: {
    kind: 'assertion',
    message,
    expected: 'EBUSY',
    observed: 'EINVAL',
    calls: ['ioctl(3, VFIO_DEVICE_RESET) = -1 EINVAL (Invalid argument)'],
    hints: [],
    reproducer: 'int main(void)\n{\n}\n',
  },
  kernelLog: ['vfio-pci 0000:00:02.0: resetting'],
  covers: ['VFIO_DEVICE_RESET'],
  rerun: 'npm start -- device.reset',
});

/** 5,000 tests of two suites; each seventh fails. */
function manyTests(): RunResults {
  const ids = Array.from({ length: 5000 }, (_, n) => `${n % 2 ? 'device' : 'container'}.test.${n}`);
  const bad = Object.fromEntries(
    ids.filter((_, n) => n % 7 === 0).map((id) => [id, failed(`${id} is broken`)]),
  );
  return run('7.3.4', ids, bad);
}

describe('the HTML report', () => {
  it('shows text of kernels and names as text, runs nothing of it and loads nothing', async () => {
    const id = `device.${MARKUP}`;
    const results = reduceJournal(sampleRun());
    for (const test of results.tests) test.kernelLog.push(MARKUP);
    const [first] = results.tests as [TestResult];
    results.tests.push({
      ...first,
      ...failed(MARKUP),
      id,
      suite: MARKUP,
      title: MARKUP,
      covers: [MARKUP],
      kernelLog: [MARKUP, HOSTILE, '\u202etxet desrever'],
    });
    results.run.kernel = MARKUP;
    results.run.environment = { [MARKUP]: MARKUP };
    const path = page('hostile', results, results);
    for (const fragment of ['', '#/tests', '#/matrix', '#/compare', '#/coverage', `#${MARKUP}`]) {
      const opened = await openFile(browser, path, fragment);
      expect(opened.complaints).toEqual([]);
      expect(opened.requests).toEqual([]);
      await opened.page.close();
    }
    const { page: shown, complaints, requests } = await openFile(browser, path, '#/tests');
    await shown.locator('tbody a', { hasText: '</script>' }).first().click();
    const log = shown.locator('.dossier section', { hasText: 'Kernel log' }).locator('li');
    expect(await log.nth(0).textContent()).toBe(MARKUP);
    expect(await shown.locator('.dossier').textContent()).toContain('\\u202etxet');
    expect(await shown.evaluate('typeof hacked')).toBe('undefined');
    expect(await shown.locator('img, main script, iframe, [onerror], [onmouseover]').count()).toBe(
      0,
    );
    expect([...complaints, ...requests]).toEqual([]);
    await shown.close();
  });

  it('opens 5,000 tests within two seconds of processor time', async () => {
    const path = page('many', manyTests());
    const shown = await browser.newPage();
    const session = await shown.context().newCDPSession(shown);
    // Not by the clock on the wall: others may want the processor too.
    await session.send('Performance.enable', { timeDomain: 'threadTicks' });
    await shown.goto(`file://${path}#/tests`);
    await shown.locator('tbody tr[aria-rowindex]').first().waitFor();
    const { metrics } = await session.send('Performance.getMetrics');
    const seconds = metrics.find(({ name }) => name === 'TaskDuration')?.value;
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThan(2);
    expect(await shown.locator('[role=status]').textContent()).toContain('5000 tests');
    expect(await shown.locator('tbody tr').count()).toBeLessThan(100);
    await shown.close();
  });

  it('filters by status, suite, uAPI item and words, and keeps that in its address', async () => {
    const { page: shown, complaints } = await openFile(
      browser,
      page('filter', manyTests()),
      '#/tests',
    );
    const count = shown.locator('[role=status]');
    const expectCount = (text: string) => soon(() => count.textContent()).toContain(text);
    await shown.getByRole('checkbox', { name: /^fail/ }).check();
    await expectCount('715 of 5000 tests');
    await shown.getByRole('checkbox', { name: /^device/ }).check();
    await expectCount('357 of 5000 tests');
    await shown.keyboard.press('Escape');
    await shown.keyboard.press('/');
    await shown.keyboard.type('test.49 broken');
    await expectCount('9 of 5000 tests');
    expect(shown.url()).toMatch(/#\/tests\?status=fail&suite=device&q=test.49\+broken$/);
    await shown.reload();
    await expectCount('9 of 5000 tests');
    await shown.getByRole('button', { name: 'Show all' }).click();
    await shown.getByLabel('uAPI item that').fill('VFIO_DEVICE_RESET');
    await expectCount('715 of 5000 tests');
    expect(complaints).toEqual([]);
    await shown.close();
  });

  it('is walked by keyboard, and each test has an address', async () => {
    const path = page('keys', manyTests());
    const { page: shown } = await openFile(browser, path, '#container.test.14');
    const dossier = shown.locator('.dossier');
    expect(await dossier.locator('h2').textContent()).toBe('container.test.14');
    for (const text of ['EBUSY', 'EINVAL', 'ioctl(3', 'resetting', 'int main', 'npm start --'])
      expect(await dossier.textContent()).toContain(text);
    await shown.getByRole('grid').focus();
    await shown.keyboard.press('ArrowDown');
    await soon(() => dossier.locator('h2').textContent()).toBe('device.test.21');
    expect(shown.url()).toMatch(/#device\.test\.21$/);
    await shown.keyboard.press('Enter');
    expect(await dossier.evaluate((element) => element.matches(':focus'))).toBe(true);
    await shown.keyboard.press('Escape');
    await soon(() => dossier.count()).toBe(0);
    await shown.goBack();
    await soon(() => dossier.locator('h2').textContent()).toBe('device.test.21');
    await shown.getByRole('button', { name: 'Close' }).click();
    await shown.getByRole('button', { name: 'Time' }).click();
    expect(await shown.locator('th[aria-sort=descending]').textContent()).toContain('Time');
    await shown.close();
  });

  it('puts several kernels side by side and compares them', async () => {
    const ids = ['device.reset', 'device.info', 'irq.msi'];
    const talks = { kernelLog: ['vfio-pci: a new word'] };
    const path = page(
      'kernels',
      run('6.1.0', ids),
      run('7.3.4', ids, { 'device.reset': failed('no reset'), 'irq.msi': talks }),
    );
    const { page: shown } = await openFile(browser, path, '#/matrix');
    const row = shown.locator('tbody tr', { hasText: 'device.reset' });
    expect(await row.locator('td').allTextContents()).toEqual(['device.reset', ' pass', ' fail']);
    await row.getByRole('link', { name: 'fail' }).click();
    await shown.locator('.other-runs a', { hasText: '6.1.0' }).click();
    await soon(() => shown.locator('.dossier header').textContent()).toContain('pass');
    await shown.getByRole('link', { name: 'Compare' }).click();
    const changes = shown.locator('.changes');
    await soon(() => changes.textContent()).toContain('newly fails');
    expect(await changes.textContent()).toContain('vfio-pci: a new word');
    await shown.getByLabel('B').selectOption({ label: '6.1.0' });
    await expect
      .poll(() => shown.locator('[role=status]').textContent())
      .toContain('no difference');
    await shown.close();
  });

  it('names flakes with their rate', async () => {
    const ids = ['irq.msi', 'irq.intx'];
    const good = run('7.3.4', ids);
    const runs = [good, good, run('7.3.4', ids, { 'irq.msi': failed('lost') })];
    const { page: shown } = await openFile(browser, page('flakes', ...runs), '#/matrix');
    expect(await shown.locator('tbody tr').count()).toBe(1);
    expect(await shown.locator('.flake').textContent()).toBe('1 of 3 on 7.3.4 (default)');
    await shown.getByLabel('also the tests that ended alike').check();
    await soon(() => shown.locator('tbody tr').count()).toBe(2);
    await shown.close();
  });

  it('says which uAPI items the run tested', async () => {
    const results = run('7.3.4', ['device.reset'], { 'device.reset': failed('no reset') });
    const { page: shown } = await openFile(browser, page('uapi', results), '#/coverage');
    const row = (item: string) => shown.locator('tbody tr', { hasText: item });
    expect(await row('VFIO_DEVICE_RESET').getByRole('img').getAttribute('aria-label')).toBe(
      '1 fail',
    );
    expect(await row('VFIO_IOMMU_ENABLE').textContent()).toContain('not tested');
    await shown.close();
  });

  it('prints every row and the dossiers of failures, in ink on paper', async () => {
    const path = page('print', manyTests());
    const { page: tests } = await openFile(browser, path, '#/tests?status=fail', 'dark');
    const background = () =>
      tests.evaluate<string>('getComputedStyle(document.body).backgroundColor');
    expect(await background()).not.toBe('rgb(255, 255, 255)');
    await tests.evaluate('dispatchEvent(new Event("beforeprint"))');
    expect(await tests.locator('tbody tr').count()).toBe(715);
    await tests.emulateMedia({ media: 'print' });
    expect(await background()).toBe('rgb(255, 255, 255)');
    await tests.close();
    const { page: overview } = await openFile(browser, page('paper', reduceJournal(sampleRun())));
    await overview.evaluate('dispatchEvent(new Event("beforeprint"))');
    expect(await overview.locator('.dossier').count()).toBe(6);
    await overview.close();
  });

  it('plots distributions, cost over size and ratios of benchmarks', async () => {
    const benches = findBenches([
      writeBenchDirectory(join(folder, 'bench/a'), '6.1.0', 1),
      writeBenchDirectory(join(folder, 'bench/b'), '7.3.4', 1.2),
    ]);
    const path = join(folder, 'bench.html');
    writeHtml(path, { runs: [], benches, goal: GOAL, threshold: 5 });
    const { page: shown, complaints, requests } = await openFile(browser, path);
    const plots = shown.locator('figure svg');
    await shown.getByLabel('Search benchmarks').fill('thp.4096.');
    await shown.locator('tbody tr', { hasText: '7.3.4' }).click();
    await soon(() => shown.locator('.dossier svg [aria-label=rect] rect').count()).toBeGreaterThan(
      4,
    );
    expect(shown.url()).toContain('bench=container.dma.thp.4096.warm.map');

    await shown.getByRole('button', { name: 'Cost over size' }).click();
    const curves = plots.locator('[aria-label=line] path');
    await soon(() => curves.count()).toBe(6);
    expect(await plots.last().textContent()).toContain('256 MiB');
    await shown.getByLabel(/^pages/).selectOption('thp');
    await soon(() => curves.count()).toBe(2);
    await shown.getByLabel('cost of a').selectOption('pages');
    await soon(() => plots.last().textContent()).toContain('median latency a page');

    await shown.getByRole('button', { name: 'A/B ratios' }).click();
    await soon(() => shown.locator('figure.plot').textContent()).toContain('slower');
    const dots = plots.last().locator('[aria-label=dot] path');
    expect(await dots.count()).toBe(benches[0]!.results.benchmarks.length);
    expect([...complaints, ...requests]).toEqual([]);
    await shown.close();
  });
});
