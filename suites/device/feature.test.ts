import {
  DEVICE_FEATURES,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_BUS_MASTER,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_FEATURE_ZPCI_ERROR,
  expect,
  test,
  tryHalfFeature,
} from '../../harness/testing/index.ts';

const MAIN = 'drivers/vfio/vfio_main.c vfio_ioctl_device_feature()';
const CHECK = 'include/linux/vfio.h vfio_check_feature()';
const GET = VFIO_DEVICE_FEATURE_GET;
const SET = VFIO_DEVICE_FEATURE_SET;
const PROBE = VFIO_DEVICE_FEATURE_PROBE;
const ROOM = Buffer.alloc(64);
/** Features of every PCI device that can only be set, and the size of their data. */
const SETTABLE = [
  [VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 0],
  [VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, 8],
  [VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, 0],
] as const;
/** Features that no plain PCI device has. */
const FOREIGN = [
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_BUS_MASTER,
  VFIO_DEVICE_FEATURE_ZPCI_ERROR,
];

test(
  'device.feature.argsz',
  'a structure that ends before its flags do is refused',
  { covers: [VFIO_DEVICE_FEATURE.fails('EINVAL')], source: MAIN },
  ({ device }) => {
    const flags = PROBE | SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT;
    for (const argsz of [0, 1, 4, 7]) {
      expect(device.tryFeature(flags, ROOM, argsz), `argsz ${argsz}`).toFailWith('EINVAL');
    }
    for (const argsz of [8, 9, 72]) expect(device.tryFeature(flags, ROOM, argsz)).toSucceed(0);
  },
);

test(
  'device.feature.unknown-flags',
  'flags that nobody has given a meaning are refused, with known features and unknown ones',
  { covers: [VFIO_DEVICE_FEATURE.fails('EINVAL')], source: MAIN },
  ({ device }) => {
    for (let bit = 19; bit < 32; bit++) {
      for (const feature of [
        VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
        VFIO_DEVICE_FEATURE_MIGRATION,
        0xffff,
      ]) {
        const flags = (PROBE | feature | (1 << bit)) >>> 0;
        expect(device.tryFeature(flags, ROOM), `bit ${bit}`).toFailWith('EINVAL');
      }
    }
  },
);

test(
  'device.feature.get-and-set',
  'getting and setting at once is refused, before it is asked whether the feature exists',
  {
    covers: [
      VFIO_DEVICE_FEATURE.fails('EINVAL'),
      VFIO_DEVICE_FEATURE.flag('VFIO_DEVICE_FEATURE_GET'),
      VFIO_DEVICE_FEATURE.flag('VFIO_DEVICE_FEATURE_SET'),
    ],
    source: MAIN,
  },
  ({ device }) => {
    for (const feature of [
      VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
      VFIO_DEVICE_FEATURE_MIGRATION,
      100,
      0xffff,
    ]) {
      expect(device.tryFeature(GET | SET | feature, ROOM), `feature ${feature}`).toFailWith(
        'EINVAL',
      );
    }
    expect(device.tryFeature(PROBE | GET | SET | 0xffff, ROOM)).toFailWith('ENOTTY');
  },
);

test(
  'device.feature.unknown',
  'a feature that the kernel does not know is ENOTTY, however it is asked for',
  { covers: [VFIO_DEVICE_FEATURE.fails('ENOTTY')], source: MAIN, devices: ['edu', 'igb'] },
  ({ device }) => {
    const beyond = Math.max(...Object.values(DEVICE_FEATURES)) + 1;
    for (const feature of [beyond, beyond + 1, 100, 0x8000, 0xfffe, 0xffff]) {
      for (const operation of [0, GET, SET, PROBE, PROBE | GET, PROBE | SET]) {
        const answer = device.tryFeature((operation | feature) >>> 0, ROOM);
        expect(answer, `feature ${feature}, flags ${operation}`).toFailWith('ENOTTY');
      }
    }
  },
);

test(
  'device.feature.foreign',
  'migration, DMA logging and the features of other buses are ENOTTY on a plain PCI device',
  {
    covers: [
      VFIO_DEVICE_FEATURE.fails('ENOTTY'),
      VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_MIGRATION'),
      VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE'),
      VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_MIG_DATA_SIZE'),
      VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_DMA_LOGGING_START'),
      VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP'),
      VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT'),
      VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_BUS_MASTER'),
    ],
    source: [
      'drivers/vfio/vfio_main.c vfio_ioctl_device_feature_migration()',
      'drivers/vfio/vfio_main.c vfio_ioctl_device_feature_logging_start()',
    ],
    devices: ['edu', 'igb', 'nvme'],
    peer: ['A15'],
  },
  ({ device }) => {
    for (const feature of FOREIGN) {
      for (const operation of [0, GET, SET, PROBE, PROBE | GET, PROBE | SET, PROBE | GET | SET]) {
        const answer = device.tryFeature(operation | feature, ROOM);
        expect(answer, `feature ${feature}, flags ${operation}`).toFailWith('ENOTTY');
      }
    }
  },
);

test(
  'device.feature.precopy-info',
  'a device that has no pre-copy phase refuses the newer form of its information',
  {
    covers: [VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2')],
    source: 'drivers/vfio/vfio_main.c vfio_ioctl_device_feature_migration_precopy_info_v2()',
    since: '7.3',
  },
  ({ device }) => {
    for (const operation of [0, GET, SET, PROBE, PROBE | SET]) {
      const answer = device.tryFeature(operation | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2, ROOM);
      expect(answer).toFailWith('EINVAL');
    }
  },
);

test(
  'device.feature.probe',
  'probing tells what a feature can do, and does nothing',
  {
    covers: [
      VFIO_DEVICE_FEATURE.flag('VFIO_DEVICE_FEATURE_PROBE'),
      VFIO_DEVICE_FEATURE.fails('EINVAL'),
    ],
    source: CHECK,
    devices: ['edu', 'igb', 'nvme'],
  },
  ({ device }) => {
    for (const [feature] of SETTABLE) {
      expect(device.tryFeature(PROBE | feature), `feature ${feature}`).toSucceed(0);
      expect(device.tryFeature(PROBE | SET | feature)).toSucceed(0);
      expect(device.tryFeature(PROBE | GET | feature)).toFailWith('EINVAL');
      expect(device.tryFeature(PROBE | GET | SET | feature)).toFailWith('EINVAL');
    }
    // Had a probe entered the low power state, entering it now would be refused.
    expect(device.tryFeature(SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY)).toSucceed(0);
    expect(device.tryFeature(PROBE | SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT)).toSucceed(0);
    expect(device.tryFeature(SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY)).toFailWith('EINVAL');
    expect(device.tryFeature(SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT)).toSucceed(0);
  },
);

test(
  'device.feature.operation',
  'a feature that can only be set can not be got, and something must be asked for',
  { covers: [VFIO_DEVICE_FEATURE.fails('EINVAL')], source: CHECK },
  ({ device }) => {
    for (const [feature] of SETTABLE) {
      expect(device.tryFeature(GET | feature, ROOM), `feature ${feature}`).toFailWith('EINVAL');
      expect(device.tryFeature(feature, ROOM)).toFailWith('EINVAL');
    }
  },
);

test(
  'device.feature.data-size',
  'data that are shorter than the feature needs are refused',
  {
    covers: [VFIO_DEVICE_FEATURE.fails('EINVAL')],
    source: `${CHECK}: minsz`,
  },
  ({ device, eventfd }) => {
    const data = Buffer.alloc(8);
    data.writeInt32LE(eventfd().fd);
    const enter = (argsz: number) =>
      device.tryFeature(SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, data, argsz);
    for (const argsz of [8, 12, 15]) expect(enter(argsz), `argsz ${argsz}`).toFailWith('EINVAL');
    expect(enter(16)).toSucceed(0);
    expect(device.tryFeature(SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT)).toSucceed(0);
  },
);

test(
  'device.feature.half-data',
  'data of which only the beginning can be read give EFAULT, and nothing is set',
  {
    covers: [VFIO_DEVICE_FEATURE.fails('EFAULT')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_pm_entry_with_wakeup()',
    devices: ['edu', 'igb'],
  },
  (context) => {
    const { device, eventfd } = context;
    const data = Buffer.alloc(8);
    data.writeInt32LE(eventfd().fd);
    const wakeup = SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP;
    for (const readable of [0, 4]) {
      expect(tryHalfFeature(context, device, wakeup, data, readable)).toFailWith('EFAULT');
    }
    expect(device.tryFeature(wakeup, data), 'not entered yet').toSucceed(0);
    expect(device.tryFeature(SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT)).toSucceed(0);
  },
);

test(
  'device.feature.vf-token.absent',
  'a device without virtual functions has no token',
  {
    covers: [VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_PCI_VF_TOKEN')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_feature_token()',
    devices: ['edu', 'e1000e'],
  },
  ({ device }) => {
    for (const operation of [SET, GET, PROBE, PROBE | SET]) {
      const answer = device.tryFeature(operation | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, ROOM);
      expect(answer).toFailWith('ENOTTY');
    }
  },
);

test(
  'device.feature.vf-token',
  'the token of a physical function can be set and never be read',
  {
    covers: [VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_PCI_VF_TOKEN')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_feature_token()',
    device: 'igb',
    peer: ['S31'],
  },
  ({ device }) => {
    const token = Buffer.from('bd8d9d2b5a5f4f5aa211f591514ba1f3', 'hex');
    const feature = VFIO_DEVICE_FEATURE_PCI_VF_TOKEN;
    expect(device.tryFeature(PROBE | SET | feature)).toSucceed(0);
    expect(device.tryFeature(PROBE | GET | feature)).toFailWith('EINVAL');
    expect(device.tryFeature(GET | feature, Buffer.alloc(16))).toFailWith('EINVAL');
    expect(device.tryFeature(feature, token)).toFailWith('EINVAL');
    expect(device.tryFeature(SET | feature, token.subarray(0, 15))).toFailWith('EINVAL');
    expect(device.tryFeature(SET | feature, token)).toSucceed(0);
    expect(device.tryFeature(SET | feature, Buffer.concat([token, Buffer.alloc(8)]))).toSucceed(0);
  },
);
