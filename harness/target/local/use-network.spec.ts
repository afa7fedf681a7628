import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import {
  addChild,
  file,
  link,
  NIC,
  path,
  roots,
  useFakeMachine,
} from '../../../tests/fake-machine.ts';
import { networkUses } from './use-network.ts';
import type { Use } from './use.ts';

const addresses: Record<string, { address: string }[]> = {};
vi.mock('node:os', async (load) => ({
  ...(await load<object>()),
  networkInterfaces: () => addresses,
}));

useFakeMachine();
beforeEach(() => {
  for (const name of Object.keys(addresses)) delete addresses[name];
  addCard('eth7');
});

function addCard(name: string): void {
  file(join(addChild(NIC, 'net', name), 'device/vendor'), '0x8086');
}

const one = { class: '0200', driver: 'e1000e' } as Parameters<typeof networkUses>[0];
const uses = (driver = 'e1000e'): Use[] => networkUses({ ...one, driver }, path(NIC), roots);

/** An interface that is no card. */
function addVirtual(name: string): void {
  mkdirSync(join(roots.sys, 'class/net', name), { recursive: true });
}

function ownAddress(name: string, address: string): void {
  addVirtual(name);
  addresses[name] = [{ address }];
}

/** What the kernel tells of a link that is up. */
function carrier(name: string, is: '0' | '1'): void {
  file(join(roots.sys, 'class/net', name, 'carrier'), is);
}

/** `lower` carries `upper`. */
function stack(lower: string, upper: string): void {
  const net = join(roots.sys, 'class/net');
  addVirtual(upper);
  link(`../${upper}`, join(net, lower, `upper_${upper}`));
}

function logIn(address: string): void {
  const connection = `SSH_CONNECTION=192.0.2.9 50000 ${address} 22`;
  file(join(roots.proc, String(process.pid), 'environ'), `A=b\0${connection}\0`);
}

const LOGIN = { what: 'this login comes in over eth7', forcible: false };

describe('the link over which the user has logged in', () => {
  it.each([
    ['an address of its own', '192.0.2.1', '192.0.2.1'],
    ['its link-local address', 'fe80::1', 'fe80::1%eth7'],
  ])('is known by %s', (_what, address, given) => {
    addresses['eth7'] = [{ address }];
    logIn(given);
    expect(uses()).toContainEqual(LOGIN);
  });

  it('is known by an address of what is above it', () => {
    stack('eth7', 'bond0');
    stack('bond0', 'br0');
    addresses['br0'] = [{ address: '192.0.2.1' }];
    logIn('192.0.2.1');
    expect(uses()).toContainEqual(LOGIN);
  });

  it('is not one whose address is another', () => {
    stack('eth7', 'br0');
    addresses['br0'] = [{ address: '192.0.2.1' }];
    addCard('eth8');
    addresses['eth8'] = [{ address: '192.0.2.2' }];
    logIn('192.0.2.1');
    expect(uses()).toContainEqual({ what: 'eth8 has the address 192.0.2.2', forcible: true });
    expect(uses().filter(({ forcible }) => !forcible)).toEqual([LOGIN]);
  });

  it('is each that has the link-local address', () => {
    addCard('eth6');
    for (const name of ['eth6', 'eth7']) addresses[name] = [{ address: 'fe80::1' }];
    logIn('fe80::1%eth7');
    expect(uses()).toContainEqual(LOGIN);
  });

  const fixed = (): string[] =>
    uses()
      .filter(({ forcible }) => !forcible)
      .map(({ what }) => what);

  it.each<[string, string, () => void]>([
    ['a tunnel', 'wg0', () => ownAddress('wg0', '198.51.100.1')],
    ['a reverse tunnel', 'lo', () => ownAddress('lo', '198.51.100.1')],
    ['what no link has the address of', '198.51.100.1', () => undefined],
  ])('may be any that carries something, where it is %s', (_what, over, arrange) => {
    arrange();
    for (const name of ['eth6', 'eth8', 'eth9']) addCard(name);
    addresses['eth6'] = [{ address: '192.0.2.1' }];
    carrier('eth7', '1');
    carrier('eth8', '0');
    logIn('198.51.100.1');
    const perhaps = `this login comes in over ${over}, perhaps by a tunnel through`;
    expect(fixed()).toEqual([
      'eth6 has the address 192.0.2.1',
      `${perhaps} eth6`,
      'eth7 is up',
      `${perhaps} eth7`,
    ]);
  });

  it('may be in another network namespace, where the user has logged in through a tunnel', () => {
    rmSync(join(roots.sys, 'class/net/eth7'));
    ownAddress('wg0', '198.51.100.1');
    logIn('198.51.100.1');
    expect(fixed()).toEqual([
      'its interface may be in another network namespace',
      'this login comes in over wg0, perhaps by a tunnel through its interface',
    ]);
  });
});

it('a link without an address may carry PPP over Ethernet', () => {
  const pppoe = 'Id       Address              Device\n00000A00 00:00:5e:00:53:01';
  file(join(roots.proc, 'net/pppoe'), `${pppoe}     eth17`);
  expect(uses()).toEqual([]);
  file(join(roots.proc, 'net/pppoe'), `${pppoe}     eth7`);
  expect(uses()).toEqual([{ what: 'eth7 carries PPP over Ethernet', forcible: true }]);
});

it('a link that is up is in use without an address where storage may be remote', () => {
  file(join(roots.sys, 'block/etherd!e0.0/dev'), '');
  carrier('eth7', '0');
  expect(uses()).toEqual([]);
  carrier('eth7', '1');
  expect(uses()).toEqual([
    { what: 'eth7 is up', forcible: false },
    { what: 'a disk of another machine may come over eth7', forcible: false },
  ]);
});

describe('a link with an address', () => {
  const mount = (rest: string) => () =>
    file(join(roots.proc, 'self/mountinfo'), `36 35 0:51 / /data rw - ${rest}`);
  const inSys = (path: string) => () => file(join(roots.sys, path), '');

  it.each([
    ['a file system of a cluster', mount('gfs2 /dev/x rw')],
    ['a 9p file system over TCP', mount('9p server rw,access=user,trans=tcp,port=564')],
    ['an iSCSI session', inSys('class/iscsi_session/session1/state')],
    ['a disk of Ceph', inSys('bus/rbd/devices/0/name')],
    ['a replicated disk', inSys('block/drbd0/dev')],
    ['a disk over Ethernet', inSys('block/etherd!e0.0/dev')],
    ['a disk over FCoE', inSys('bus/fcoe/devices/ctlr_0/mode')],
    ['a network block device', inSys('block/nbd0/pid')],
  ])('stays where the machine has %s', (_what, arrange) => {
    addresses['eth7'] = [{ address: '192.0.2.1' }];
    arrange();
    expect(uses().map(({ forcible }) => forcible)).toEqual([false, false]);
  });

  it.each([
    ['a folder of its host', mount('9p host rw,trans=virtio')],
    ['network block devices that nobody has connected', inSys('block/nbd0/dev')],
  ])('may be taken by force where it has %s', (_what, arrange) => {
    addresses['eth7'] = [{ address: '192.0.2.1' }];
    arrange();
    expect(uses().map(({ forcible }) => forcible)).toEqual([true]);
  });
});

it.each(['vfio-pci', 'mlx5_vfio_pci', 'pci-stub'])(
  'a network card with %s has no interface that could be used elsewhere',
  (driver) => {
    rmSync(join(roots.sys, 'class/net/eth7'));
    expect(uses(driver)).toEqual([]);
    expect(uses('mlx5_core')).toHaveLength(1);
  },
);
