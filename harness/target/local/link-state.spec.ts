import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { captureLinks, describeLinks, putBackLinks, type LinkState } from './link-state.ts';

let sys: string;
let device: string;
beforeEach(() => {
  sys = mkdtempSync(join(tmpdir(), 'links-'));
  device = join(sys, 'devices/0000:03:00.0');
  mkdirSync(join(sys, 'class/net'), { recursive: true });
});
afterEach(() => rmSync(sys, { recursive: true }));

/** A link as a driver has just made it. */
function addLink(name: string, port = '0', below = ''): void {
  const path = join(device, below, 'net', name);
  mkdirSync(path, { recursive: true });
  const files = { dev_port: port, flags: '0x1002', mtu: '1500', tx_queue_len: '1000' };
  for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), `${text}\n`);
  symlinkSync(path, join(sys, 'class/net', name));
}

const wanted = (name: string, port = '0'): LinkState => ({
  name,
  port,
  up: true,
  settings: { mtu: '1400', tx_queue_len: '500' },
});
const putBack = (...links: LinkState[]) => putBackLinks(device, links, sys);

describe('the links of a function', () => {
  it('are set up as they were', () => {
    addLink('ens3');
    putBack(wanted('ens3'));
    expect(captureLinks(device, sys)).toEqual([wanted('ens3')]);
    expect(readFileSync(join(sys, 'class/net/ens3/flags'), 'utf8')).toBe('0x1003');
  });

  it('are waited for until udev has named them', () => {
    addLink('eth0');
    const [before, after] = ['eth0', 'ens3'].map((name) => join(sys, 'class/net', name));
    spawn('sh', ['-c', 'sleep 0.5; mv "$1" "$2"', 'udev', before!, after!]);
    putBack(wanted('ens3'));
    expect(captureLinks(device, sys)).toEqual([wanted('ens3')]);
  });

  it('are known by their ports where the names do not come', () => {
    addLink('eth0', '1');
    addLink('eth1', '0');
    putBackLinks(device, [wanted('ens3', '0'), wanted('ens4', '1')], sys, 0);
    expect(captureLinks(device, sys)).toEqual([wanted('eth0', '1'), wanted('eth1', '0')]);
  });

  it('include those of virtio and USB devices below it', () => {
    addLink('enx1', '0', 'usb1/1-1/1-1:1.0');
    expect(captureLinks(device, sys)).toMatchObject([{ name: 'enx1' }]);
  });

  it('are told apart by their settings, not by their names', () => {
    const [a, b] = [wanted('ens3'), wanted('eth0')];
    expect(describeLinks([a])).toBe(describeLinks([b]));
    expect(describeLinks([a])).not.toBe(describeLinks([{ ...b, up: false }]));
  });
});
