import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import {
  addChild,
  addDevice,
  bind,
  file,
  link,
  NIC,
  open,
  path,
  roots,
  useFakeMachine,
} from '../../../tests/fake-machine.ts';
import { chooseDevices } from './choose-devices.ts';

useFakeMachine();

/** A node of the device, in a process. */
function openNode(subsystem: string, name: string): void {
  const child = addChild(NIC, subsystem, basename(name));
  file(join(child, 'uevent'), `DEVNAME=${name}`);
  link(`../../class/${subsystem}`, join(child, 'subsystem'));
  open(`/dev/${name}`);
}

const choose = (bdf = NIC, force = false) => chooseDevices([bdf], force, roots);

describe('a device that the user names', () => {
  it('is taken if nobody uses it, with all of its group but the bridges', () => {
    addDevice('0000:00:01.0', 7, { class: '0x060400' });
    addDevice(NIC, 7);
    addDevice('0000:03:00.1', 7);
    addDevice('0000:04:00.0', 8);
    const { named, members } = chooseDevices([NIC, '03:00.0'], false, roots);
    expect(named.map(({ bdf }) => bdf)).toEqual([NIC]);
    expect(members.map(({ bdf }) => bdf)).toEqual([NIC, '0000:03:00.1']);
  });

  it.each([
    ['does not exist', '0000:09:00.0', /there is no PCI device/],
    ['is in no IOMMU group', '0000:05:00.0', /IOMMU group.*intel_iommu=on/s],
    ['is a bridge', '0000:00:01.0', /bridge/],
  ])('is refused if it %s', (_why, bdf, message) => {
    addDevice('0000:05:00.0', null);
    addDevice('0000:00:01.0', 1, { class: '0x060400' });
    expect(() => choose(bdf)).toThrow(message);
  });
});

describe('a device in use', () => {
  it.each<[string, RegExp, boolean, () => void]>([
    [
      'a mounted file system',
      /sda1 is mounted at \/srv\/my data/,
      false,
      () => {
        addChild(NIC, 'block', 'sda1', '8:1');
        file(
          join(roots.proc, 'self/mountinfo'),
          '36 35 8:1 / /srv/my\\040data rw - ext4 /dev/x rw',
        );
      },
    ],
    [
      'swap',
      /sda2 is swap/,
      false,
      () => {
        addChild(NIC, 'block', 'sda2', '8:2');
        file(join(roots.proc, 'swaps'), 'Filename\tType\n/dev/sda2 partition 1 0 -2');
      },
    ],
    [
      'a logical volume, and what is mounted from it',
      /sda3 is part of vg-home\n.*vg-home is mounted at \/home/s,
      false,
      () => {
        mkdirSync(join(addChild(NIC, 'block', 'sda3', '8:3'), 'holders/dm-0'), { recursive: true });
        file(join(roots.sys, 'class/block/dm-0/dm/name'), 'vg-home');
        file(join(roots.sys, 'class/block/dm-0/dev'), '254:0');
        file(join(roots.proc, 'self/mountinfo'), '36 35 254:0 / /home rw - ext4 /dev/mapper/x rw');
      },
    ],
    [
      'a loop device, and what is mounted from it',
      /sda4 is part of loop0\n.*loop0 is mounted at \/image/s,
      false,
      () => {
        addChild(NIC, 'block', 'sda4', '8:4');
        file(join(roots.sys, 'class/block/loop0/loop/backing_file'), '/dev/sda4');
        file(join(roots.sys, 'class/block/loop0/dev'), '7:0');
        file(join(roots.proc, 'self/mountinfo'), '36 35 7:0 / /image rw - ext4 /dev/loop0 rw');
      },
    ],
    [
      'other machines, over NVMe',
      /sda5 is exported over NVMe/,
      false,
      () => {
        addChild(NIC, 'block', 'sda5', '8:5');
        const target = join(roots.sys, 'kernel/config/nvmet/subsystems/nqn/namespaces/1');
        file(join(target, 'device_path'), '/dev/sda5');
      },
    ],
    [
      'a process with the disk behind several controllers',
      /\/dev\/nvme0n1 is open in process 4711/,
      false,
      () => {
        const subsystem = join(roots.sys, 'class/nvme-subsystem/nvme-subsys0');
        link(addChild(NIC, 'nvme', 'nvme0'), join(subsystem, 'nvme0'));
        file(join(subsystem, 'nvme0n1/uevent'), 'MAJOR=259\nDEVNAME=nvme0n1');
        link('../../../block', join(subsystem, 'nvme0n1/subsystem'));
        open('/dev/nvme0n1');
      },
    ],
    [
      'a process with a disk or tape on it, whatever it is itself,',
      /\/dev\/st0 is open in process 4711/,
      false,
      () => {
        const usb = join(path(NIC), 'usb1/1-1/1-1.1/1-1.1.1/1-1.1.1.1/1-1.1.1.1:1.0');
        const tape = join(usb, 'host0/target0:0:0/0:0:0:0/scsi_tape/st0');
        file(join(tape, 'uevent'), 'MAJOR=9\nDEVNAME=st0');
        link('../../../../class/scsi_tape', join(tape, 'subsystem'));
        open('/dev/st0');
      },
    ],
    [
      'a route',
      /eth7 has a route/,
      true,
      () => {
        addChild(NIC, 'net', 'eth7');
        file(join(roots.proc, 'net/route'), 'Iface\tDestination\neth7\t0000000A');
      },
    ],
    [
      'a bridge of links',
      /eth7 is a member of br0/,
      true,
      () => link('../br0', join(addChild(NIC, 'net', 'eth7'), 'master')),
    ],
    [
      'a link of a machine that lives from the network',
      /\/home \(nfs4\) may come over eth7/,
      false,
      () => {
        link('../br0', join(addChild(NIC, 'net', 'eth7'), 'master'));
        file(join(roots.proc, 'self/mountinfo'), '36 35 0:51 / /home rw - nfs4 server:/home rw');
      },
    ],
    ['a container, perhaps', /another network namespace/, true, () => bind(NIC, 'e1000e')],
    [
      'a serial console',
      /ttyS4 is a console/,
      true,
      () => {
        addChild(NIC, 'tty', 'ttyS4');
        file(join(roots.proc, 'consoles'), 'ttyS4                -W- (EC a)    4:68');
      },
    ],
    ['the boot GPU', /boot GPU/, true, () => file(join(path(NIC), 'boot_vga'), '1')],
    [
      'a process with one of its nodes',
      /\/dev\/snd\/pcm is open in process 4711 \(qemu-system-x86\)/,
      true,
      () => openNode('sound', 'snd/pcm'),
    ],
    [
      'a machine with a USB device of the host, perhaps a disk,',
      /bus\/usb\/001\/004 is open in process 4711 \(qemu-system-x86\); there may be a disk behind it/,
      false,
      () => openNode('usb', 'bus/usb/001/004'),
    ],
    [
      'what feeds a watchdog',
      /\/dev\/watchdog0 is open in process 4711.*; the machine could be reset/,
      false,
      () => openNode('watchdog', 'watchdog0'),
    ],
    [
      'a desktop on its screen',
      /\/dev\/dri\/card0 is open in process 4711.*; a graphical login may rest on it/,
      false,
      () => openNode('drm', 'dri/card0'),
    ],
    [
      'a desktop on another screen with its keyboard',
      /\/dev\/input\/event3 is open in process 4711.*; a graphical login may rest on it/,
      false,
      () => {
        openNode('input', 'input/event3');
        link('/dev/dri/card1', join(roots.proc, '4711/fd/13'));
      },
    ],
    [
      'what watches its keyboard for a power key',
      /\/dev\/input\/event3 is open in process 4711/,
      true,
      () => openNode('input', 'input/event3'),
    ],
    [
      'a program that computes',
      /\/dev\/dri\/renderD128 is open in process 4711/,
      true,
      () => openNode('drm', 'dri/renderD128'),
    ],
    [
      'a process with its VFIO group',
      /\/dev\/vfio\/7 is open in process 4711/,
      false,
      () => open('/dev/vfio/7'),
    ],
  ])('by %s is refused, by force only where nothing can be lost', (_by, message, forcible, use) => {
    addDevice(NIC, 7);
    use();
    expect(() => choose()).toThrow(message);
    if (forcible) expect(choose(NIC, true).forced).toEqual([expect.stringMatching(message)]);
    else expect(() => choose(NIC, true)).toThrow(message);
  });

  it.each<[string, string, RegExp | null]>([
    ['a member of something larger', 'echo LVM2_member', /sdzz holds a LVM2_member/],
    ['an encrypted volume', 'echo crypto_LUKS', /sdzz holds a crypto_LUKS/],
    ['more than one thing', 'exit 8', /sdzz holds a mixture of signatures/],
    ['a file system that is not mounted', 'echo ext4', null],
    ['nothing', 'exit 2', null],
  ])('is refused if a disk holds %s, as far as that is used when at rest', (_what, says, why) => {
    addDevice(NIC, 7);
    addChild(NIC, 'block', 'sdzz', '8:0');
    writeFileSync(join(roots.proc, 'blkid'), `#!/bin/sh\n${says}\n`, { mode: 0o755 });
    vi.stubEnv('PATH', `${roots.proc}:${process.env['PATH']}`);
    const forced = () => choose(NIC, true);
    if (why) expect(forced).toThrow(why);
    else expect(forced().forced).toEqual([]);
  });

  it('is refused if another one of its group is', () => {
    addDevice(NIC, 7);
    addDevice('0000:03:00.1', 7, { boot_vga: '1' });
    expect(() => choose()).toThrow(/0000:03:00.1: it is the boot GPU/);
  });
});
