import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import {
  addDevice,
  bind,
  link,
  NIC,
  open,
  path,
  roots,
  useFakeMachine,
} from '../../../tests/fake-machine.ts';
import { checkPrivileges, chooseDevices, type Choice } from './choose-devices.ts';

useFakeMachine();

const choose = (bdf = NIC, force = false) => chooseDevices([bdf], force, roots);

describe('the virtual functions of a device', () => {
  const VF = '0000:03:10.0';
  function addVf(group: number): void {
    addDevice(NIC, 7, { class: '0x010000' });
    addDevice(VF, group);
    link(`../${VF}`, join(path(NIC), 'virtfn0'));
  }
  const bdfs = ({ members, removed }: Pick<Choice, 'members' | 'removed'>) =>
    [members, removed].map((functions) => functions.map(({ bdf }) => bdf));

  it.each([
    ['of their own', 8],
    ['of the device', 7],
  ])('in a group %s go with it', (_whose, group) => {
    addVf(group);
    expect(bdfs(choose())).toEqual([[NIC], [VF]]);
  });

  it('stay if it is with vfio-pci already', () => {
    addVf(8);
    bind(NIC, 'vfio-pci');
    expect(bdfs(choose())).toEqual([[NIC], []]);
  });

  it('keep it from being taken while a virtual machine has them', () => {
    addVf(8);
    open('/dev/vfio/8');
    expect(() => choose(NIC, true)).toThrow(/03:10.0: \/dev\/vfio\/8 is open in process 4711/);
  });

  it('cannot be tested if that takes them away', () => {
    addVf(7);
    expect(() => choose(VF)).toThrow(/goes away with its physical function/);
  });
});

describe('a bridge of the chipset in the group of a device', () => {
  const LPC = '0000:00:1f.0';
  beforeEach(() => {
    addDevice(NIC, 7);
    addDevice(LPC, 7, { class: '0x060100' });
  });

  it('does not matter without a driver', () => {
    expect(choose().members.map(({ bdf }) => bdf)).toEqual([NIC]);
  });

  it('keeps it from being tested with a driver of its own', () => {
    bind(LPC, 'lpc_ich');
    expect(() => choose()).toThrow(/00:1f\.0, a bridge .* is with lpc_ich and stays there/);
  });
});

describe('a user who is not root', () => {
  beforeEach(() => {
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    addDevice(NIC, 700_000);
    addDevice('0000:03:00.1', 700_000);
    bind(NIC, 'vfio-pci');
  });

  it.each([null, 'pci-stub'])('is not hindered by a group mate with driver %s', (driver) => {
    if (driver) bind('0000:03:00.1', driver);
    const choice = choose();
    expect(() => checkPrivileges(choice)).toThrow(/may not use \/dev\/vfio/);
  });

  it('cannot take one with a driver of its own', () => {
    bind('0000:03:00.1', 'e1000e');
    expect(() => checkPrivileges(choose(NIC, true))).toThrow(/only root can give 0000:03:00.1/);
  });
});
