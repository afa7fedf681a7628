import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { file } from '../../../tests/fake-machine.ts';
import { isLockedDown, lacksInterruptRemapping } from './kernel-options.ts';
import { describePlan } from './plan-text.ts';

let sys: string;
beforeEach(() => {
  sys = mkdtempSync(join(tmpdir(), 'kernel-options-'));
});
afterEach(() => rmSync(sys, { recursive: true }));

const lockDown = (text: string): void => file(join(sys, 'kernel/security/lockdown'), text);

it.each([
  ['none [integrity] confidentiality', true],
  ['none integrity [confidentiality]', true],
  ['[none] integrity confidentiality', false],
])('%s', (text, isLocked) => {
  lockDown(text);
  expect(isLockedDown(sys)).toBe(isLocked);
});

const PARAMETER = 'module/vfio_iommu_type1/parameters/allow_unsafe_interrupts';

/** Interrupt chips of a machine. */
function interrupts(...chips: string[]): void {
  for (const [irq, chip] of chips.entries()) file(join(sys, `kernel/irq/${irq}/chip_name`), chip);
}

it.each([
  ['an x86 machine that does not remap interrupts', ['IO-APIC', 'PCI-MSI-0000:00:01.0'], 'N', true],
  ['one before the module is loaded', ['IO-APIC'], null, true],
  ['one whose owner accepts that', ['IO-APIC'], 'Y', false],
  ['one that remaps interrupts', ['IR-IO-APIC', 'IR-PCI-MSI-0000:00:01.0'], 'N', false],
  ['another machine', ['GICv3'], 'N', false],
])('%s', (_what, chips, parameter, isLacking) => {
  interrupts(...chips);
  if (parameter !== null) file(join(sys, PARAMETER), parameter);
  expect(lacksInterruptRemapping(sys)).toBe(isLacking);
});

const plan = (): string => {
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
  const choice = { named: [device], members: [device], removed: [], forced: [] };
  return describePlan(choice, undefined, sys);
};

it('a kernel that is locked down keeps the command register: the plan says so', () => {
  expect(plan()).not.toContain('command register');
  lockDown('none [integrity] confidentiality');
  expect(plan()).toContain('its command register stays');
});

it('a machine without interrupt remapping needs an option: the plan says which', () => {
  expect(plan()).not.toContain('allow_unsafe_interrupts');
  interrupts('IO-APIC');
  expect(plan()).toContain('allow_unsafe_interrupts=1');
});
