import {
  CLOSE_ORDERS,
  Edu,
  Group,
  OWN_MACHINE,
  SIGKILL,
  SIGTERM,
  UNLOADABLE_VFIO_PCI,
  VFIO_GROUP_GET_DEVICE_FD,
  bindTo,
  eventually,
  expect,
  hasGroupNode,
  lockedMemory,
  moduleUsers,
  startUnbinding,
  sys,
  test,
  unloadModule,
  vfioDevName,
} from '../../../harness/testing/index.ts';

const UNREGISTER = 'drivers/vfio/vfio_main.c vfio_unregister_group_dev()';
const NO_CHANNEL = /No device request channel registered, blocked until released by user/;
const NEEDS = { device: 'edu', needs: [OWN_MACHINE], provokes: [NO_CHANNEL] };

test(
  'group.unbind.open-device',
  'unbinding waits until the open device is closed, and the device works meanwhile',
  { source: UNREGISTER, ...NEEDS },
  (context) => {
    const writer = context.actor();
    const { container, device, memory, pci } = context;
    const pages = memory({ size: 8192, kind: '4k' });
    const unbinding = startUnbinding(writer, pci);
    expect(unbinding.blocks()).toBe(true);
    expect(hasGroupNode(pci.group!)).toBe(true);
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 8192n });
    pages.fill(5, 0, 4096);
    const edu = new Edu(device);
    edu.readMemory(0n, 4096);
    edu.writeMemory(4096n, 4096);
    expect(pages.verify(5, 4096, 4096)).toBe(-1);
    edu.unmap();
    expect(unbinding.blocks()).toBe(true);
    device.close();
    expect(unbinding.answer()).toSucceed(pci.bdf.length);
    expect(pci.driver).toBe(null);
    expect(hasGroupNode(pci.group!)).toBe(false);
  },
);

test(
  'group.unbind.no-new-fd',
  'a device that waits to be unbound is not opened any more',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('ENODEV')],
    source: [UNREGISTER, 'drivers/vfio/group.c vfio_device_group_unregister()'],
    since: '6.6',
    ...NEEDS,
  },
  (context) => {
    const writer = context.actor();
    const log = context.kernelLog();
    const { group, device, pci } = context;
    const unbinding = startUnbinding(writer, pci);
    expect(eventually(() => log.drain().some((line) => NO_CHANNEL.test(line)))).toBe(true);
    expect(group.tryGetDevice(pci.bdf)).toFailWith('ENODEV');
    expect(vfioDevName(pci)).toBe(null);
    expect(device.info().num_regions).toBeGreaterThan(0);
    device.close();
    expect(unbinding.ends()).toBe(true);
  },
);

test(
  'group.unbind.two-fds',
  'unbinding waits for the last of the device’s fds',
  { source: UNREGISTER, ...NEEDS },
  (context) => {
    const writer = context.actor();
    const { group, openDevice, pci } = context;
    const [first, second] = [openDevice(group), openDevice(group)];
    const unbinding = startUnbinding(writer, pci);
    expect(unbinding.blocks()).toBe(true);
    first.close();
    expect(unbinding.blocks()).toBe(true);
    expect(second.info().num_regions).toBeGreaterThan(0);
    second.close();
    expect(unbinding.ends()).toBe(true);
  },
);

test(
  'group.unbind.mapped-bar',
  'unbinding waits for the last mapping of a BAR',
  { source: [UNREGISTER, 'drivers/vfio/vfio_main.c vfio_device_fops_release()'], ...NEEDS },
  (context) => {
    const writer = context.actor();
    const { device, pci } = context;
    const edu = new Edu(device);
    const unbinding = startUnbinding(writer, pci);
    device.close();
    expect(unbinding.blocks()).toBe(true);
    expect(edu.identification()).toBe(0x010000ed);
    edu.unmap();
    expect(unbinding.ends()).toBe(true);
  },
);

test(
  'group.unbind.holder-killed',
  'unbinding goes on when the process that held the device is killed',
  { source: UNREGISTER, ...NEEDS },
  (context) => {
    const writer = context.actor();
    const { device, actor, pci } = context;
    const holder = actor({ inheritFds: [device.fd] });
    device.close();
    const unbinding = startUnbinding(writer, pci);
    expect(unbinding.blocks()).toBe(true);
    holder.kill(SIGKILL);
    expect(unbinding.ends()).toBe(true);
    expect(pci.driver).toBe(null);
  },
);

for (const order of CLOSE_ORDERS) {
  test(
    `group.unbind.close-order.${order.join('-')}`,
    'unbinding ends with the close of the device, whatever else is still open',
    { source: UNREGISTER, ...NEEDS },
    (context) => {
      const writer = context.actor();
      const { container, group, device, memory, pci } = context;
      const pages = memory({ size: 4096, kind: '4k' });
      const before = lockedMemory();
      container.mapDma({ iova: 0n, vaddr: pages.address, size: 4096n });
      const unbinding = startUnbinding(writer, pci);
      const parts = { container, group, device };
      let deviceOpen = true;
      for (const name of order) {
        parts[name].close();
        if (name === 'device') deviceOpen = false;
        if (deviceOpen) expect(unbinding.blocks()).toBe(true);
        else expect(unbinding.ends()).toBe(true);
      }
      expect(lockedMemory()).toEqual(before);
      expect(Group.tryOpen(pci.group!)).toFailWith('ENOENT');
      bindTo(pci, 'vfio-pci');
      Group.open(pci.group!).close();
    },
  );
}

test(
  'group.unbind.signalled',
  'a signal does not end the wait for an open device: it is reported and the wait goes on',
  {
    source: UNREGISTER,
    ...NEEDS,
    provokes: [NO_CHANNEL, /Device is currently in use, task .* blocked until device is released/],
  },
  (context) => {
    const writer = context.actor();
    const log = context.kernelLog();
    const { device, pci } = context;
    const lines: string[] = [];
    const said = (pattern: RegExp) => {
      lines.push(...log.drain());
      return lines.some((line) => pattern.test(line));
    };
    const unbinding = startUnbinding(writer, pci);
    expect(eventually(() => said(NO_CHANNEL))).toBe(true);
    writer.kill(SIGTERM);
    const reported = new RegExp(
      `Device is currently in use, task ".*" \\(${writer.pid}\\) blocked until device is released`,
    );
    expect(eventually(() => said(reported))).toBe(true);
    expect(hasGroupNode(pci.group!)).toBe(true);
    expect(device.config.read16(0)).toBe(pci.vendor);
    device.close();
    expect(eventually(() => !hasGroupNode(pci.group!))).toBe(true);
    // The writer dies of the signal as soon as the write is over.
    expect(() => unbinding.ends()).toThrow(/EPIPE/);
    expect(writer.waitExit().signal).toBe(SIGTERM);
    said(NO_CHANNEL);
    expect(lines.filter((line) => reported.test(line))).toHaveLength(1);
  },
);

test(
  'group.unbind.module',
  'vfio-pci is not unloaded while one of its devices is open',
  {
    source: 'drivers/vfio/vfio_main.c vfio_df_device_first_open()',
    device: 'edu',
    needs: [OWN_MACHINE, UNLOADABLE_VFIO_PCI],
  },
  ({ device, pci }) => {
    expect(moduleUsers('vfio_pci')).toBeGreaterThan(0);
    expect(() => unloadModule('vfio-pci')).toThrow(/in use/);
    expect(pci.driver).toBe('vfio-pci');
    expect(sys.pread(device.fd, Buffer.alloc(4), device.config.info.offset)).toBe(4);
  },
);
