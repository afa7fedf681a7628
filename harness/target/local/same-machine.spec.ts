import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UsageError } from '../errors.ts';
import { localFacts } from './facts.ts';
import { checkSameMachine } from './same-machine.ts';

const BDF = '0000:03:00.0';
/** Where it is plugged in. */
const PORT = 'pci0000:00/0000:00:1c.0';

let sys: string;
beforeEach(() => {
  sys = mkdtempSync(join(tmpdir(), 'same-machine-'));
  plugIn(BDF, PORT, '10d3');
});
afterEach(() => rmSync(sys, { recursive: true }));

function plugIn(bdf: string, port: string, device: string): void {
  const folder = join(sys, 'devices', port, bdf);
  const link = join(sys, 'bus/pci/devices', bdf);
  mkdirSync(folder, { recursive: true });
  mkdirSync(dirname(link), { recursive: true });
  rmSync(link, { force: true });
  symlinkSync(folder, link);
  writeFileSync(join(folder, 'vendor'), '0x8086\n');
  writeFileSync(join(folder, 'device'), `0x${device}\n`);
}

describe('a run goes on', () => {
  it('with its devices where they were', () => {
    expect(() => checkSameMachine(localFacts([BDF], sys), sys)).not.toThrow();
  });

  it('although a bridge above them has another number', () => {
    const begun = localFacts([BDF], sys);
    renameSync(join(sys, 'devices', PORT), join(sys, 'devices/pci0000:00/0000:01:1c.0'));
    plugIn(BDF, 'pci0000:00/0000:01:1c.0', '10d3');
    expect(() => checkSameMachine(begun, sys)).not.toThrow();
  });

  it.each(['localhost', 'localhost.localdomain'])('before it is called more than %s', (host) => {
    expect(() => checkSameMachine({ ...localFacts([BDF], sys), host }, sys)).not.toThrow();
  });

  it('of a version that did not tell where they are plugged in', () => {
    const { slots: _, ...begun } = localFacts([BDF], sys);
    expect(() => checkSameMachine(begun, sys)).not.toThrow();
  });
});

describe('a run does not go on', () => {
  const complaint = (begun: Record<string, string>): string => {
    try {
      checkSameMachine(begun, sys);
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError);
      return String(error);
    }
    return 'no complaint';
  };

  it('with another device at the address', () => {
    const begun = localFacts([BDF], sys);
    plugIn(BDF, PORT, '1533');
    expect(complaint(begun)).toMatch(
      /devices then: 0000:03:00\.0 8086:10d3\n +devices now: 0000:03:00\.0 8086:1533\n +next: /,
    );
  });

  it('with another one of the same model, plugged in elsewhere', () => {
    const begun = localFacts([BDF], sys);
    plugIn(BDF, 'pci0000:00/0000:00:1b.0', '10d3');
    expect(complaint(begun)).toMatch(
      /slots then: pci0000:00\/1c\.0\/00\.0\n +slots now: pci0000:00\/1b\.0\/00\.0/,
    );
  });

  it('with nothing at the address', () => {
    const begun = localFacts([BDF], sys);
    rmSync(join(sys, 'bus/pci/devices', BDF));
    expect(complaint(begun)).toContain('devices now: 0000:03:00.0 is not there');
  });

  it('on another machine', () => {
    const begun = { ...localFacts([BDF], sys), host: 'lab-7' };
    expect(complaint(begun)).toMatch(/host then: lab-7\n +host now: /);
  });
});
