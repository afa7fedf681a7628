import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import {
  addDevice,
  bind,
  link,
  NIC,
  path,
  roots,
  useFakeMachine,
} from '../../../tests/fake-machine.ts';
import { chooseDevices } from './choose-devices.ts';
import { describePlan } from './plan-text.ts';

useFakeMachine();

const plan = (...bdfs: string[]): string => describePlan(chooseDevices(bdfs, false, roots));

it('the plan says what is removed and what is lost by that', () => {
  addDevice(NIC, 7);
  addDevice('0000:03:10.0', 8, { class: '0x010000' });
  link('../0000:03:10.0', join(path(NIC), 'virtfn0'));
  bind('0000:03:10.0', 'nvme');
  expect(plan(NIC)).toMatch(
    /03:10\.0 .*: removed with its physical function, and back.*\n.*with nvme; MAC address/,
  );
});

it('the plan of a user who is not root says what stays as it is', () => {
  vi.spyOn(process, 'getuid').mockReturnValue(1000);
  addDevice(NIC, 7);
  bind(NIC, 'vfio-pci');
  addDevice('0000:03:00.1', 7);
  expect(plan(NIC).match(/it stays with .*/g)).toEqual([
    'it stays with vfio-pci',
    'it stays with no driver',
  ]);
});

it('the plan says for which tests each of several devices is', () => {
  const EDU = { vendor: '0x1234', device: '0x11e8', class: '0x00ff00' };
  addDevice('0000:01:00.0', 1);
  addDevice('0000:02:00.0', 2, EDU);
  addDevice('0000:04:00.0', 4, EDU);
  addDevice('0000:05:00.0', 5);
  addDevice('0000:05:00.1', 5);
  const named = ['05:00.0', '04:00.0', '02:00.0', '01:00.0'];
  expect(plan(...named).match(/IOMMU group .*/g)).toEqual([
    'IOMMU group 1: not tested, another one is given for the same tests',
    'IOMMU group 2: not tested, another one is given for the same tests',
    'IOMMU group 4: for tests of its kind, edu',
    'IOMMU group 5: tested',
    'IOMMU group 5: comes along with its group',
  ]);
});
