import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { reduceJournal, Reducer } from '../reduce.ts';
import { asLines, HOSTILE, sampleBegin, sampleRun, sampleTest } from '../samples.ts';
import { LiveDisplay, type Terminal } from './display.ts';
import { colorsFor } from './style.ts';
import { renderSummary } from './summary.ts';

// Whatever terminal the tests themselves run on.
beforeEach(() => vi.stubEnv('FORCE_COLOR', undefined).stubEnv('NO_COLOR', '1'));
afterEach(() => vi.unstubAllEnvs());

function show(options: { tty?: boolean; quiet?: boolean } = {}): string {
  let text = '';
  const terminal: Terminal = {
    isTTY: options.tty ?? false,
    columns: 60,
    write: (more) => (text += more),
  };
  const display = new LiveDisplay(terminal, { quiet: options.quiet });
  const reducer = new Reducer();
  for (const line of sampleRun()) display.show(line, reducer.apply(line));
  display.close();
  return text;
}

describe('display', () => {
  it('prints a plain line a test where there is no terminal', () => {
    const lines = show().split('\n');
    expect(lines.filter((line) => /^\[\d\/8\]/.test(line))).toHaveLength(8);
    expect(lines[0]).toBe('[1/8] pass    container.pass@igb (13 ms)');
    expect(
      lines.some((line) => /^\[3\/8\] skip {4}container.skip@igb # no device/.test(line)),
    ).toBe(true);
    expect(lines.some((line) => line.startsWith('-- session ended (guest-panic): oops'))).toBe(
      true,
    );
    expect(lines).not.toContain('\r');
  });

  it('explains a failure at once, whatever the text is', () => {
    const text = show();
    expect(text).toContain('    the promise of device.fail@igb is kept\n');
    expect(text).toContain('    expected: EEXIST\n');
    expect(text).toContain('    run it again: npx vfio-conformance run device.fail@igb\n');
    // eslint-disable-next-line no-control-regex
    expect(text).not.toMatch(/[\u0000\u001b]/);
    for (const line of text.split('\n')) expect(line).not.toMatch(/^(ok|not ok|Bail out)/);
  });

  it('draws a bar on a terminal that never wraps, and takes it away', () => {
    const text = show({ tty: true });
    expect(text).toContain('[##########..........] 4/8, 2 failed');
    expect(text).not.toContain('container.pass@igb (');
    expect(text).toContain('device.fail@igb');
    const bars = text
      .replaceAll('\r\u001b[2K', '\n')
      .split('\n')
      .filter((part) => /^\[[#.]{20}\]/.test(part));
    for (const bar of bars) expect(bar.length).toBeLessThan(60);
    expect(text.endsWith('\r\u001b[2K')).toBe(true);
  });

  it('prints failures only when it is to be quiet', () => {
    const text = show({ quiet: true });
    expect(text).not.toContain('container.pass');
    expect(text).toContain('device.fail@igb');
  });
});

describe('colours', () => {
  const on = '\u001b[32mx\u001b[39m';
  it.each<[string, { isTTY: boolean }, NodeJS.ProcessEnv, string]>([
    ['on a terminal', { isTTY: true }, {}, on],
    ['not in a pipe', { isTTY: false }, {}, 'x'],
    ['not with NO_COLOR', { isTTY: true }, { NO_COLOR: '1' }, 'x'],
    ['not on a dumb terminal', { isTTY: true }, { TERM: 'dumb' }, 'x'],
    ['in a pipe with FORCE_COLOR', { isTTY: false }, { FORCE_COLOR: '1' }, on],
  ])('%s', (_, stream, env, expected) => expect(colorsFor(stream, env).green('x')).toBe(expected));
});

describe('summary', () => {
  const plain = colorsFor({ isTTY: false }, {});

  it('counts, names what is wrong, and says how to run it again', () => {
    const text = renderSummary(reduceJournal(sampleRun()), '/nowhere', plain);
    expect(text).toContain('9 tests on Linux 7.3.4+deb13-amd64 (default): 1 pass, 1 fail, 1 crash');
    expect(text).toContain('Reports: /nowhere/');
    expect(text).toMatch(
      /Run these again: npx vfio-conformance run container\.crash@igb device\.fail@igb|Run these again: npx vfio-conformance run device\.fail@igb/,
    );
    expect(text).not.toContain(HOSTILE);
  });

  it('says why a run ended early and what is missing', () => {
    const lines = asLines([
      sampleBegin([sampleTest('a.b')]),
      { type: 'run-end', outcome: 'interrupted', reason: 'SIGINT' },
    ]);
    const text = renderSummary(reduceJournal(lines), '/nowhere', plain);
    expect(text).toContain('interrupted: SIGINT; 1 test not run');
    expect(text).toContain('Go on with the rest: npx vfio-conformance run --resume /nowhere');
  });

  it('says how to go on with a campaign', () => {
    const campaign = asLines([
      { ...sampleBegin([sampleTest('a.b')]), command: ['vfio-conformance', 'fuzz'] },
      { type: 'run-end', outcome: 'interrupted', reason: 'SIGINT' },
    ]);
    const text = renderSummary(reduceJournal(campaign), '/nowhere', plain);
    expect(text).toContain('Go on with the rest: npx vfio-conformance fuzz --resume /nowhere');
  });
});
