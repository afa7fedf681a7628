import { describe, expect, it } from 'vitest';
import { renderDevices } from './devices.ts';

describe('devices', () => {
  const one = {
    bdf: '0000:02:00.0',
    id: '8086:10c9',
    name: 'Intel 82576',
    class: '0200',
    driver: 'igb',
    iommuGroup: 2,
    groupMates: [],
    virtualFunctions: [],
    reset: ['flr', 'bus'],
    uses: [],
    forcible: true,
    obstacle: null,
    next: null,
    suites: { container: 3, irq: 2 },
  };

  it('says how each of them could be tested, and what hinders the others', () => {
    const used = {
      ...one,
      bdf: '0000:03:00.0',
      groupMates: ['0000:03:00.1'],
      uses: ['eth0 is up'],
    };
    const fixed = { ...one, bdf: '0000:06:00.0', uses: ['it holds x'], forcible: false };
    const hopeless = {
      ...one,
      bdf: '0000:04:00.0',
      iommuGroup: null,
      uses: ['eth1 has a route'],
      obstacle: 'it has x',
      next: 'switch x off',
    };
    const another = { ...hopeless, bdf: '0000:05:00.0', driver: null, uses: [] };
    const bridge = { ...one, bdf: '0000:00:01.0', class: '0604' };
    const text = renderDevices([bridge, one, used, hopeless, another, fixed]);
    expect(text.split('\n').map((line) => line.trim())).toEqual([
      'device        id         driver  group  reset    name',
      '0000:02:00.0  8086:10c9  igb     2      flr bus  Intel 82576',
      'tests: container 3, irq 2',
      'vfio-conformance run --device 0000:02:00.0',
      '0000:03:00.0  8086:10c9  igb     2      flr bus  Intel 82576',
      'shares its group with 0000:03:00.1',
      'in use: eth0 is up',
      'tests: container 3, irq 2',
      'takes it from what uses it: vfio-conformance run --device 0000:03:00.0 --force',
      '0000:04:00.0  8086:10c9  igb     -      flr bus  Intel 82576',
      'in use: eth1 has a route',
      'cannot be tested: it has x',
      '0000:05:00.0  8086:10c9  -       -      flr bus  Intel 82576',
      'cannot be tested: it has x',
      '0000:06:00.0  8086:10c9  igb     2      flr bus  Intel 82576',
      'in use: it holds x',
      'tests: container 3, irq 2',
      '',
      'it has x: switch x off',
      '',
    ]);
  });

  it('says what to do where there are none', () => {
    expect(renderDevices([])).toMatch(/no PCI devices.*vfio-conformance run/);
  });
});
