import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { isLockedDown } from './lockdown.ts';
import { describePlan } from './plan-text.ts';

let sys: string;
beforeEach(() => {
  sys = mkdtempSync(join(tmpdir(), 'lockdown-'));
  mkdirSync(join(sys, 'kernel/security'), { recursive: true });
});
afterEach(() => rmSync(sys, { recursive: true }));

const lockDown = (text: string) =>
  writeFileSync(join(sys, 'kernel/security/lockdown'), `${text}\n`);

it.each([
  ['none [integrity] confidentiality', true],
  ['none integrity [confidentiality]', true],
  ['[none] integrity confidentiality', false],
])('%s', (text, isLocked) => {
  lockDown(text);
  expect(isLockedDown(sys)).toBe(isLocked);
});

it('a kernel that is locked down keeps the command register: the plan says so', () => {
  const device = {
    bdf: '0000:03:00.0',
    id: '1234:11e8',
    name: 'edu',
    class: '00ff',
    driver: null,
    iommuGroup: 7,
    groupMates: [],
    virtualFunctions: [],
    reset: [],
  };
  const plan = () =>
    describePlan({ named: [device], members: [device], removed: [], forced: [] }, undefined, sys);
  expect(plan()).not.toContain('command register');
  lockDown('none [integrity] confidentiality');
  expect(plan()).toContain('its command register stays');
});
