import { describe, expect, it } from 'vitest';
import { eachStep, newOwner, type DeviceState } from './device-state.ts';

const NIC: DeviceState = {
  bdf: '0000:03:00.0',
  iommuGroup: 3,
  driver: 'igb',
  driverOverride: null,
  numVfs: 2,
  attributes: {},
  links: [],
  config: '8680c910',
};

describe('a device that was taken', () => {
  it.each([
    ['with vfio-pci', { driver: 'vfio-pci', numVfs: 0 }],
    ['on its way back', { driver: null, numVfs: 0 }],
    ['with its driver, which is without its functions', { numVfs: 0 }],
    ['as it was', {}],
    ['silent', { driver: 'vfio-pci', numVfs: 0, config: 'ffffffff' }],
  ])('is to be put back where it is found %s', (_how, found) => {
    expect(newOwner(NIC, { ...NIC, ...found })).toBeNull();
  });

  it.each([
    [{ driver: 'pci-stub' }, 'pci-stub has it since'],
    [{ numVfs: 4 }, 'it has 4 virtual functions since'],
    [{ driver: null, config: '361b1000' }, '1b36:0010 is at this address now, it was 8086:10c9'],
  ])('is left to its new owner: %o', (found, why) => {
    expect(newOwner(NIC, { ...NIC, ...found })).toBe(why);
  });
});

it('a step that fails does not keep the next from being taken', () => {
  const taken: number[] = [];
  const fail = () => {
    throw new Error('EBUSY');
  };
  expect(eachStep([() => taken.push(1), fail, () => taken.push(3)])).toEqual(['EBUSY']);
  expect(taken).toEqual([1, 3]);
});
