import {
  ERRNO,
  OWN_MACHINE,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  Program,
  VFIO_GROUP_GET_DEVICE_FD,
  expect,
  ioctl,
  startUnbinding,
  sys,
  test,
} from '../../harness/testing/index.ts';

const FROM_NAME = 'drivers/vfio/group.c vfio_device_get_from_name()';
const GET_FD = 'drivers/vfio/group.c vfio_group_ioctl_get_device_fd()';
const MATCH = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_match()';
const TOKEN = '2ab74924-c335-45f4-9b16-8569e5b08258';
const LEAK = 'e324fc82ea45 (GROUP_GET_DEVICE_FD with a wrong name leaks a reference)';
/** strndup_user() takes this many bytes with the final NUL. */
const LONGEST = 4096;

test(
  'group.get-device.wrong-name',
  'a name that belongs to no device of the group opens nothing',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('ENODEV')],
    source: [FROM_NAME, MATCH],
    fixes: [LEAK],
    peer: ['A17'],
  },
  ({ group, pci }) => {
    const wrong = [
      '',
      ' ',
      '0000:00:00',
      'ffff:ff:1f.7',
      'x'.repeat(64),
      pci.bdf.slice(0, -1),
      pci.bdf.slice(1),
      ` ${pci.bdf}`,
      `${pci.bdf}0`,
      `${pci.bdf}\n`,
      `${pci.bdf},vf_token=${TOKEN}`,
    ];
    for (const name of wrong) expect(group.tryGetDevice(name)).toFailWith('ENODEV');
  },
);

test(
  'group.get-device.other-group',
  'a device is opened through its own group only',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('ENODEV')],
    source: FROM_NAME,
    device: 'edu',
    uses: ['edu-rp'],
  },
  ({ openRole, group, pci }) => {
    const other = openRole('edu-rp');
    expect(group.tryGetDevice(other.pci.bdf)).toFailWith('ENODEV');
    expect(other.group.tryGetDevice(pci.bdf)).toFailWith('ENODEV');
  },
);

test(
  'group.get-device.blanks-behind',
  'blanks behind the name of a PCI device are options that say nothing',
  { covers: [VFIO_GROUP_GET_DEVICE_FD], source: MATCH },
  ({ group, pci, openDevice }) => {
    expect(openDevice(group, `${pci.bdf} `).info().num_regions).toBeGreaterThan(0);
    expect(openDevice(group, `${pci.bdf}   `).info().num_regions).toBeGreaterThan(0);
  },
);

test(
  'group.get-device.options',
  'an option behind the name that is unknown, broken or of no use is refused',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EINVAL')], source: MATCH, device: 'edu' },
  ({ group, pci }) => {
    const refused = [
      'x',
      'vf_token',
      'vf_token=',
      `vf_token=${TOKEN.slice(0, -1)}`,
      `vf_token=${TOKEN.replaceAll('-', 'x')}`,
      `vf_token=g${TOKEN.slice(1)}`,
      `vf_token=${TOKEN}x`,
      `vf_token=${TOKEN} vf_token=${TOKEN}`,
      `VF_TOKEN=${TOKEN}`,
      // It is neither a PF nor a VF.
      `vf_token=${TOKEN}`,
    ];
    for (const option of refused) {
      expect(group.tryGetDevice(`${pci.bdf} ${option}`)).toFailWith('EINVAL');
    }
    group.getDevice(pci.bdf).close();
  },
);

test(
  'group.get-device.longest-name',
  'a name may be as long as a page with its end, and no longer',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD, VFIO_GROUP_GET_DEVICE_FD.fails('EINVAL')],
    source: GET_FD,
  },
  ({ group, pci, openDevice }) => {
    openDevice(group, pci.bdf.padEnd(LONGEST - 1)).close();
    expect(group.tryGetDevice(pci.bdf.padEnd(LONGEST))).toFailWith('EINVAL');
    expect(group.tryGetDevice(pci.bdf.padEnd(2 * LONGEST))).toFailWith('EINVAL');
    expect(group.tryGetDevice('y'.repeat(LONGEST - 1))).toFailWith('ENODEV');
    expect(group.tryGetDevice('y'.repeat(LONGEST))).toFailWith('EINVAL');
  },
);

test(
  'group.get-device.bad-address',
  'a name at an address that cannot be read is refused',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EFAULT')], source: GET_FD },
  ({ group }) => {
    for (const address of [0, 8, 0xffff_ffff_ffff_f000n]) {
      expect(ioctl(group.fd, VFIO_GROUP_GET_DEVICE_FD, address)).toFailWith('EFAULT');
    }
  },
);

test(
  'group.get-device.unterminated',
  'a name whose end lies beyond readable memory is refused',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EFAULT')], source: GET_FD },
  ({ group, pci, memory, openDevice }) => {
    const pages = memory({ size: 8192, kind: '4k' });
    const name = Buffer.from(pci.bdf);
    const end = 4096 - name.length;
    pages.write(end, name);
    sys.mprotect(pages.address + 4096n, 4096, PROT_NONE);
    const at = pages.address + BigInt(end);
    expect(ioctl(group.fd, VFIO_GROUP_GET_DEVICE_FD, at)).toFailWith('EFAULT');
    // The same name, ending inside: its last byte is the page's last.
    pages.write(end - 1, Buffer.concat([name, Buffer.from([0])]));
    const answer = ioctl(group.fd, VFIO_GROUP_GET_DEVICE_FD, at - 1n);
    expect(answer).toSucceed();
    sys.close(answer.result);
    openDevice(group).close();
    sys.mprotect(pages.address + 4096n, 4096, PROT_READ | PROT_WRITE);
  },
);

/** Asks for a device `count` times with one name; the distinct results. */
function askManyTimes(fd: number, name: string, count: number): Set<number> {
  const program = new Program();
  const data = program.data(name);
  const asked = Array.from({ length: count }, () =>
    program.syscall('ioctl', fd, VFIO_GROUP_GET_DEVICE_FD.request, data),
  );
  program.run();
  return new Set(asked.map((ask) => program.result(ask)));
}

for (const [kind, suffix, errno] of [
  ['unknown-name', 'x', 'ENODEV'],
  ['bad-option', ' x', 'EINVAL'],
  ['unused-token', ` vf_token=${TOKEN}`, 'EINVAL'],
] as const) {
  test(
    `group.get-device.no-leak.${kind}`,
    'asking for a device in vain leaves no reference behind: it can be unbound at once',
    {
      covers: [VFIO_GROUP_GET_DEVICE_FD.fails(errno)],
      source: [GET_FD, FROM_NAME, MATCH],
      fixes: [LEAK],
      peer: ['A17'],
      device: 'edu',
      needs: [OWN_MACHINE],
    },
    (context) => {
      const writer = context.actor();
      const { group, pci } = context;
      const results = askManyTimes(group.fd, `${pci.bdf}${suffix}`, 200);
      expect(results).toEqual(new Set([-ERRNO[errno]]));
      const unbinding = startUnbinding(writer, pci);
      expect(unbinding.ends()).toBe(true);
      expect(pci.driver).toBe(null);
    },
  );
}
