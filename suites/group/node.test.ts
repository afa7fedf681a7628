import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import {
  OWN_MACHINE,
  bindAnew,
  bindTo,
  expect,
  groupNode,
  hasGroupNode,
  nodeFacts,
  sysfsDev,
  test,
  unbind,
  vfioDevName,
} from '../../harness/testing/index.ts';

const CREATE = 'drivers/vfio/group.c vfio_create_group()';

test(
  'group.node.attributes',
  'a group with a member on VFIO has a character device that only root may open',
  { source: [CREATE, 'drivers/vfio/group.c vfio_devnode()'], needs: [OWN_MACHINE] },
  ({ pci }) => {
    const node = nodeFacts(groupNode(pci.group!));
    expect(node).toMatchObject({ isCharacterDevice: true, mode: 0o600, uid: 0, gid: 0 });
    expect(node.dev).toBe(sysfsDev(`/sys/class/vfio/${pci.group}`));
  },
);

test(
  'group.node.major',
  'the nodes of groups have a major number of their own, named vfio, and differ by minor',
  {
    source: ['drivers/vfio/group.c vfio_group_init()', 'drivers/vfio/group.c vfio_group_alloc()'],
    uses: ['edu', 'edu-rp'],
    device: 'edu',
  },
  ({ bound }) => {
    const nodes = ['edu', 'edu-rp'].map((role) => nodeFacts(groupNode(bound(role).group!)).dev);
    const majors = new Set(nodes.map((dev) => dev.split(':')[0]));
    expect(new Set(nodes).size).toBe(2);
    expect(majors.size).toBe(1);
    const [major] = majors;
    expect(readFileSync('/proc/devices', 'utf8')).toMatch(new RegExp(`^ *${major} vfio$`, 'm'));
  },
);

test(
  'group.node.container',
  'the container is a misc device that everybody may open',
  { source: 'drivers/vfio/container.c vfio_dev' },
  () => {
    const node = nodeFacts('/dev/vfio/vfio');
    expect(node).toMatchObject({ isCharacterDevice: true, dev: '10:196', mode: 0o666 });
    expect(sysfsDev('/sys/class/misc/vfio')).toBe('10:196');
  },
);

test(
  'group.node.last-member',
  'the node of a group is there as long as one of its members is on VFIO',
  {
    source: [CREATE, 'drivers/vfio/group.c vfio_device_remove_group()'],
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    needs: [OWN_MACHINE],
  },
  ({ bound, pci: first }) => {
    const second = bound('edu-pair-b');
    const group = first.group!;
    expect(second.group).toBe(group);
    const before = nodeFacts(groupNode(group));
    unbind(first);
    expect(nodeFacts(groupNode(group))).toEqual(before);
    unbind(second);
    expect(hasGroupNode(group)).toBe(false);
    expect(existsSync(`/sys/class/vfio/${group}`)).toBe(false);
    bindTo(second, 'vfio-pci');
    expect(hasGroupNode(group)).toBe(true);
    // The lowest minor that is free, which need not be the one before.
    const again = nodeFacts(groupNode(group));
    expect(again).toEqual({ ...before, dev: sysfsDev(`/sys/class/vfio/${group}`) });
    bindTo(first, 'vfio-pci');
    expect(nodeFacts(groupNode(group))).toEqual(again);
  },
);

test(
  'group.node.minor-reused',
  'unbinding gives the minor of the group and the index of the device back',
  {
    source: [
      'drivers/vfio/group.c vfio_group_release()',
      'drivers/vfio/vfio_main.c vfio_device_release()',
    ],
    needs: [OWN_MACHINE],
  },
  ({ pci }) => {
    const facts = () => [nodeFacts(groupNode(pci.group!)).dev, vfioDevName(pci)];
    // From here on it has the lowest minor that is free.
    bindAnew(pci, 'vfio-pci');
    const before = facts();
    for (let round = 0; round < 3; round++) {
      bindAnew(pci, 'vfio-pci');
      expect(facts()).toEqual(before);
    }
  },
);

test(
  'group.node.vfio-dev',
  'a registered device has one entry in the class vfio-dev, until it is unbound',
  {
    source: 'drivers/vfio/vfio_main.c __vfio_register_dev()',
    needs: [OWN_MACHINE],
    uses: ['edu', 'edu-rp'],
    device: 'edu',
  },
  ({ bound, pci }) => {
    const name = vfioDevName(pci)!;
    expect(name).toMatch(/^vfio\d+$/);
    expect(vfioDevName(bound('edu-rp'))).not.toBe(name);
    expect(readlinkSync(`/sys/class/vfio-dev/${name}/device`)).toContain(pci.bdf);
    unbind(pci);
    expect(vfioDevName(pci)).toBe(null);
    expect(existsSync(`/sys/class/vfio-dev/${name}`)).toBe(false);
  },
);
