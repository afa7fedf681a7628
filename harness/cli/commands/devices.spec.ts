import { describe, expect, it } from 'vitest';
import { renderDevices } from './devices.ts';

describe('devices', () => {
  const one = {
    bdf: '0000:02:00.0',
    id: '8086:10c9',
    class: '0200',
    driver: 'vfio-pci',
    iommuGroup: 2,
    groupMates: [],
    reset: ['flr', 'bus'],
    obstacles: [],
  };

  it('says which of them could be tested, and what hinders the others', () => {
    const [head, yes, no] = renderDevices([
      one,
      {
        ...one,
        bdf: '0000:03:00.0',
        driver: null,
        iommuGroup: null,
        reset: [],
        obstacles: ['a', 'b'],
      },
    ]).split('\n');
    expect(head).toMatch(/^device .* run --device$/);
    expect(yes).toMatch(/^0000:02:00\.0 +8086:10c9 +0200 +2 +vfio-pci +flr bus +yes$/);
    expect(no).toMatch(/^0000:03:00\.0 .* - +- +- +no: a; b$/);
  });

  it('says what to do where there are none', () => {
    expect(renderDevices([])).toMatch(/no PCI devices.*vfio-conformance run/);
  });
});
