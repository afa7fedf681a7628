import { existsSync, readFileSync } from 'node:fs';
import {
  DEBUGFS,
  MIGRATION_STATES,
  MTTY,
  OWN_MACHINE,
  bindAnew,
  bindTo,
  changeMigrationState,
  debugfsHas,
  expect,
  mediated,
  openMediated,
  setModuleParameter,
  test,
  unbind,
  type PciFunction,
  type Requirement,
} from '../../harness/testing/index.ts';

const SHOWN = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_debugfs_init()';
const VFIO_DEBUGFS: Requirement = {
  name: 'debugfs of VFIO',
  missing: () =>
    debugfsHas('vfio') ? null : 'the kernel shows nothing of VFIO in debugfs (CONFIG_VFIO_DEBUGFS)',
};
const NEEDS = { needs: [OWN_MACHINE, VFIO_DEBUGFS] };

const folder = (pci: PciFunction) => `${DEBUGFS}/vfio/${pci.bdf}`;
const shown = (pci: PciFunction, name: string) =>
  readFileSync(`${folder(pci)}/pci/${name}`, 'utf8').trim();

test(
  'device.debugfs.folder',
  'a registered device has a folder of its name in debugfs, until it is unbound',
  {
    source: [
      'drivers/vfio/debugfs.c vfio_device_debugfs_init()',
      'drivers/vfio/vfio_main.c vfio_unregister_group_dev()',
    ],
    since: '6.8',
    ...NEEDS,
  },
  ({ pci }) => {
    for (let round = 0; round < 2; round++) {
      expect(existsSync(folder(pci))).toBe(true);
      // Only a device that can migrate has more to show.
      expect(existsSync(`${folder(pci)}/migration`)).toBe(false);
      unbind(pci);
      expect(existsSync(folder(pci))).toBe(false);
      bindTo(pci, 'vfio-pci');
    }
  },
);

test(
  'device.debugfs.migration',
  'debugfs shows in which state a device is that can be migrated, and what it can do',
  {
    source: [
      'drivers/vfio/debugfs.c vfio_device_state_read()',
      'drivers/vfio/debugfs.c vfio_device_features_read()',
    ],
    since: '6.8',
    needs: [...NEEDS.needs, mediated(MTTY)],
  },
  (context) => {
    const device = openMediated(context, MTTY);
    const migration = (file: string) =>
      readFileSync(`${DEBUGFS}/vfio/${device.name}/migration/${file}`, 'utf8');
    expect(migration('features')).toBe('stop-copy\np2p\npre-copy\ndirty-tracking\n');
    expect(migration('state')).toBe('RUNNING\n');
    // A device leaves RESUMING only when all of it was resumed, so that comes last.
    const { VFIO_DEVICE_STATE_ERROR: _, VFIO_DEVICE_STATE_RESUMING, ...others } = MIGRATION_STATES;
    for (const [state, value] of Object.entries({ ...others, VFIO_DEVICE_STATE_RESUMING })) {
      changeMigrationState(context, device, value);
      expect(`VFIO_DEVICE_STATE_${migration('state')}`).toBe(`${state}\n`);
      if (value !== VFIO_DEVICE_STATE_RESUMING) {
        changeMigrationState(context, device, others.VFIO_DEVICE_STATE_RUNNING);
      }
    }
  },
);

for (const [parameter, other] of [
  ['nointxmask', 'disable_idle_d3'],
  ['disable_idle_d3', 'nointxmask'],
] as const) {
  test(
    `device.debugfs.${parameter}`,
    `debugfs shows what ${parameter} was when the device was bound`,
    { source: SHOWN, since: '7.3', ...NEEDS },
    ({ pci, defer }) => {
      expect([shown(pci, parameter), shown(pci, other)]).toEqual(['N', 'N']);
      defer(() => bindAnew(pci, 'vfio-pci'));
      defer(setModuleParameter('vfio_pci', parameter, 'Y'));
      expect(shown(pci, parameter)).toBe('N');
      bindAnew(pci, 'vfio-pci');
      expect([shown(pci, parameter), shown(pci, other)]).toEqual(['Y', 'N']);
    },
  );
}
