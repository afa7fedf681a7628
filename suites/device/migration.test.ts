import {
  ERRNO,
  F_GETFD,
  MIGRATION_STATES,
  MTTY,
  O_CLOEXEC,
  O_RDONLY,
  PROT_READ,
  Program,
  SLABINFO,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_STATE_ERROR,
  VFIO_DEVICE_STATE_NR,
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_RUNNING_P2P,
  VFIO_DEVICE_STATE_STOP,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
  VFIO_MIG_GET_PRECOPY_INFO,
  changeMigrationState,
  createMediated,
  expect,
  expectNoKernelLeak,
  ioctl,
  mediated,
  migrationDataSize,
  migrationState,
  openMediated,
  readStream,
  sys,
  test,
  tryPrecopyInfo,
  trySetMigrationState,
  vfio_device_feature,
  vfio_device_feature_mig_state,
  vfio_device_feature_migration,
  vfio_precopy_info,
  type Device,
  type TestContext,
} from '../../harness/testing/index.ts';

const NEXT_STATE = 'drivers/vfio/vfio_main.c vfio_mig_get_next_state()';
const DEVICE_STATE = 'drivers/vfio/vfio_main.c vfio_ioctl_device_feature_mig_device_state()';
const PRECOPY = 'include/linux/vfio.h vfio_check_precopy_ioctl()';
const needs = [mediated(MTTY)];
const STATE = VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE');
/** A register of the serial port that only keeps what is written to it. */
const SCRATCH = 7;

/** The number that the next file gets. */
function lowestFreeNumber(): number {
  const fd = sys.open('/dev/null', O_RDONLY | O_CLOEXEC);
  sys.close(fd);
  return fd;
}

/** A device that can be migrated, and a way to change its state that closes every stream after the test. */
function migratable(context: TestContext): { device: Device; change: (state: number) => number } {
  const device = openMediated(context, MTTY);
  const change = (state: number) => changeMigrationState(context, device, state);
  return { device, change };
}

const OPENS_A_STREAM = [
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P,
];
const PRECOPYING = [VFIO_DEVICE_STATE_PRE_COPY, VFIO_DEVICE_STATE_PRE_COPY_P2P];

/** The stream of pre-copy goes on; every other way into a state that moves data opens a new one. */
function opensStream(from: number, to: number): boolean {
  if (from === to || !OPENS_A_STREAM.includes(to)) return false;
  return !(PRECOPYING.includes(from) && to !== VFIO_DEVICE_STATE_RESUMING);
}

for (const [name, from] of Object.entries(MIGRATION_STATES)) {
  if (from === VFIO_DEVICE_STATE_ERROR) continue;
  const short = name.replace('VFIO_DEVICE_STATE_', '').toLowerCase().replaceAll('_', '-');
  test(
    `device.migration.from.${short}`,
    `from ${name} a device changes to every state but those that the header blocks, and opens the streams it names`,
    { covers: [STATE], source: [NEXT_STATE, 'include/uapi/linux/vfio.h'], needs },
    (context) => {
      const { device, change } = migratable(context);
      change(VFIO_DEVICE_STATE_STOP_COPY);
      const size = Number(migrationDataSize(device));
      change(VFIO_DEVICE_STATE_RUNNING);
      const saved = readStream(change(VFIO_DEVICE_STATE_STOP_COPY));
      expect(saved.length).toBe(size);
      change(VFIO_DEVICE_STATE_RUNNING);
      for (const to of Object.values(MIGRATION_STATES)) {
        const stream = change(from);
        // What is resumed must be complete before anything else is asked for.
        if (from === VFIO_DEVICE_STATE_RESUMING) expect(sys.write(stream, saved)).toBe(size);
        const answer = trySetMigrationState(device, to);
        if (answer.value.data_fd >= 0) context.defer(() => sys.close(answer.value.data_fd));
        const blocked =
          to === VFIO_DEVICE_STATE_ERROR ||
          (from === VFIO_DEVICE_STATE_STOP_COPY && PRECOPYING.includes(to));
        if (blocked) {
          expect(answer, `to ${to}`).toFailWith('EINVAL');
          expect(migrationState(device)).toBe(from);
        } else {
          expect(answer, `to ${to}`).toSucceed(0);
          expect(migrationState(device)).toBe(to);
        }
        expect(answer.value.data_fd >= 0, `stream to ${to}`).toBe(
          !blocked && opensStream(from, to),
        );
        if (!blocked && to === VFIO_DEVICE_STATE_RESUMING) {
          if (opensStream(from, to)) expect(sys.write(answer.value.data_fd, saved)).toBe(size);
        }
        change(VFIO_DEVICE_STATE_RUNNING);
      }
    },
  );
}

test(
  'device.migration.unknown-state',
  'a state that the header does not have is refused, and the device stays where it is',
  { covers: [STATE, VFIO_DEVICE_FEATURE.fails('EINVAL')], source: NEXT_STATE, needs },
  (context) => {
    const { device } = migratable(context);
    for (const state of [VFIO_DEVICE_STATE_NR, 0xff, 0xffffffff]) {
      const answer = trySetMigrationState(device, state);
      expect(answer).toFailWith('EINVAL');
      expect(answer.value.data_fd).toBe(-1);
      expect(migrationState(device)).toBe(VFIO_DEVICE_STATE_RUNNING);
    }
  },
);

test(
  'device.migration.flags',
  'a device tells what kinds of migration it supports',
  {
    covers: [
      VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_MIGRATION'),
      VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_MIG_DATA_SIZE'),
    ],
    source: [
      'drivers/vfio/vfio_main.c vfio_ioctl_device_feature_migration()',
      'drivers/vfio/vfio_main.c vfio_ioctl_device_feature_migration_data_size()',
    ],
    needs,
  },
  (context) => {
    const { device } = migratable(context);
    const get = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION;
    const answer = device.tryFeature(get, Buffer.alloc(8));
    expect(answer).toSucceed(0);
    expect(vfio_device_feature_migration.decode(answer.value).flags).toBe(
      BigInt(VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY),
    );
    expect(migrationDataSize(device)).toBeGreaterThan(0n);
  },
);

test(
  'device.migration.feature-rules',
  'each feature of migration can be got or set as the header says, needs its data, and can be probed',
  {
    covers: [VFIO_DEVICE_FEATURE.fails('EINVAL')],
    source: 'include/linux/vfio.h vfio_check_feature()',
    needs,
  },
  (context) => {
    const { device } = migratable(context);
    const [GET, SET] = [VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_SET];
    for (const { feature, ways, size } of [
      { feature: VFIO_DEVICE_FEATURE_MIGRATION, ways: [GET], size: 8 },
      { feature: VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, ways: [GET, SET], size: 8 },
      { feature: VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, ways: [GET], size: 8 },
      { feature: VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2, ways: [SET], size: 0 },
    ]) {
      for (const way of [GET, SET]) {
        const probe = device.tryFeature(feature | way | VFIO_DEVICE_FEATURE_PROBE);
        if (ways.includes(way)) expect(probe, `feature ${feature}`).toSucceed(0);
        else expect(probe, `feature ${feature}`).toFailWith('EINVAL');
        if (!ways.includes(way)) {
          expect(device.tryFeature(feature | way, Buffer.alloc(8))).toFailWith('EINVAL');
        } else if (size > 0) {
          expect(device.tryFeature(feature | way, Buffer.alloc(size - 1))).toFailWith('EINVAL');
        }
      }
    }
    expect(migrationState(device)).toBe(VFIO_DEVICE_STATE_RUNNING);
  },
);

test(
  'device.migration.resume',
  'a device that resumes from what was saved is as it was when it was saved',
  { covers: [STATE], source: [DEVICE_STATE, NEXT_STATE], needs },
  (context) => {
    const { device, change } = migratable(context);
    const registers = device.region(0);
    registers.write(SCRATCH, Buffer.from([0x5a]));
    const saved = readStream(change(VFIO_DEVICE_STATE_STOP_COPY));
    change(VFIO_DEVICE_STATE_RUNNING);
    registers.write(SCRATCH, Buffer.from([0xa5]));
    const stream = change(VFIO_DEVICE_STATE_RESUMING);
    expect(sys.write(stream, saved)).toBe(saved.length);
    change(VFIO_DEVICE_STATE_RUNNING);
    expect(registers.read(SCRATCH, 1)).toEqual(Buffer.from([0x5a]));
  },
);

test(
  'device.migration.reset',
  'a reset brings a device back to RUNNING from every state and ends its stream, also one that is half read or written',
  {
    covers: [STATE, VFIO_DEVICE_RESET],
    source: [
      'include/uapi/linux/vfio.h VFIO_DEVICE_STATE_RUNNING',
      'samples/vfio-mdev/mtty.c mtty_reset()',
    ],
    needs,
  },
  (context) => {
    const { device, change } = migratable(context);
    const saved = readStream(change(VFIO_DEVICE_STATE_STOP_COPY));
    change(VFIO_DEVICE_STATE_RUNNING);
    const size = migrationDataSize(device);
    for (const [name, from] of Object.entries(MIGRATION_STATES)) {
      if (from === VFIO_DEVICE_STATE_ERROR) continue;
      const stream = change(from);
      const half = saved.subarray(0, saved.length >> 1);
      const move = () =>
        from === VFIO_DEVICE_STATE_RESUMING
          ? sys.write(stream, half)
          : sys.read(stream, Buffer.alloc(8));
      if (stream >= 0) expect(move(), name).toBeGreaterThan(0);
      expect(migrationDataSize(device), name).toBe(size);
      device.reset();
      expect(migrationState(device), name).toBe(VFIO_DEVICE_STATE_RUNNING);
      if (stream >= 0) expect(move(), name).toBe(-ERRNO.ENODEV);
    }
  },
);

test(
  'device.migration.incomplete-resume',
  'a device does not leave RESUMING with half of its data',
  { covers: [STATE, VFIO_DEVICE_FEATURE.fails('EINVAL')], source: DEVICE_STATE, needs },
  (context) => {
    const { device, change } = migratable(context);
    const saved = readStream(change(VFIO_DEVICE_STATE_STOP_COPY));
    const stream = change(VFIO_DEVICE_STATE_RESUMING);
    const half = saved.length >> 1;
    expect(sys.write(stream, saved.subarray(0, half))).toBe(half);
    const answer = trySetMigrationState(device, VFIO_DEVICE_STATE_RUNNING);
    expect(answer).toFailWith('EINVAL');
    expect(answer.value.data_fd).toBe(-1);
    expect(migrationState(device)).toBe(VFIO_DEVICE_STATE_RESUMING);
    expect(sys.write(stream, saved.subarray(half))).toBe(saved.length - half);
    change(VFIO_DEVICE_STATE_RUNNING);
  },
);

test(
  'device.migration.stream',
  'a stream does not survive exec, and ends when the device leaves the state that opened it',
  { covers: [STATE], source: 'drivers/vfio/vfio_main.c vfio_ioct_mig_return_fd()', needs },
  (context) => {
    const { change } = migratable(context);
    const stream = change(VFIO_DEVICE_STATE_STOP_COPY);
    const program = new Program();
    const flags = program.syscall('fcntl', stream, F_GETFD, 0);
    expect(program.run().result(flags)).toBe(1);
    expect(sys.read(stream, Buffer.alloc(8))).toBe(8);
    change(VFIO_DEVICE_STATE_STOP);
    expect(sys.read(stream, Buffer.alloc(8))).toBe(-19);
  },
);

test(
  'device.migration.bad-pointer',
  'a stream whose number cannot be told to the caller is not left open',
  {
    covers: [STATE, VFIO_DEVICE_FEATURE.fails('EFAULT')],
    source: 'drivers/vfio/vfio_main.c vfio_ioct_mig_return_fd()',
    needs,
  },
  (context) => {
    const { device } = migratable(context);
    const memory = context.memory({ size: 4096, kind: '4k' });
    const ask = (flags: number, state: number) => {
      const header = vfio_device_feature.encode({ argsz: 16, flags });
      const data = vfio_device_feature_mig_state.encode({ device_state: state, data_fd: 0 });
      memory.write(0, Buffer.concat([header, data]));
      expect(sys.mprotect(memory.address, 4096, PROT_READ)).toBe(0);
      const result = sys.ioctl(device.fd, VFIO_DEVICE_FEATURE.request, memory.address);
      expect(sys.mprotect(memory.address, 4096, 3)).toBe(0);
      return result;
    };
    const set = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
    const free = lowestFreeNumber();
    expect(ask(set, VFIO_DEVICE_STATE_PRE_COPY)).toBe(-14);
    expect(lowestFreeNumber()).toBe(free);
    expect(ask(set, VFIO_DEVICE_STATE_RUNNING)).toBe(-14);
    expect(ask(VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, 0)).toBe(-14);
    expect(ask(VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION, 0)).toBe(-14);
    expect(ask(VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, 0)).toBe(-14);
    expect(migrationState(device)).toBe(VFIO_DEVICE_STATE_RUNNING);
  },
);

test(
  'device.migration.leak.bad-pointer',
  'a stream whose number cannot be told to the caller leaves nothing in the kernel',
  {
    covers: [STATE, VFIO_DEVICE_FEATURE.fails('EFAULT')],
    source: 'drivers/vfio/vfio_main.c vfio_ioct_mig_return_fd()',
    needs: [...needs, SLABINFO],
    timeoutMs: 180_000,
  },
  (context) => {
    const ROUNDS = 150;
    const { device } = migratable(context);
    const memory = context.memory({ size: 4096, kind: '4k' });
    const flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
    const states = [VFIO_DEVICE_STATE_PRE_COPY, VFIO_DEVICE_STATE_RUNNING];
    const requests = states.map((device_state) =>
      Buffer.concat([
        vfio_device_feature.encode({ argsz: 16, flags }),
        vfio_device_feature_mig_state.encode({ device_state, data_fd: 0 }),
      ]),
    );
    memory.write(0, Buffer.concat(requests));
    expect(sys.mprotect(memory.address, 4096, PROT_READ)).toBe(0);
    const program = new Program();
    const refs = Array.from({ length: 2 * ROUNDS }, (_, index) => {
      const address = memory.address + BigInt(16 * (index % 2));
      return program.syscall('ioctl', device.fd, VFIO_DEVICE_FEATURE.request, address);
    });
    expectNoKernelLeak(ROUNDS, () => program.run());
    expect(refs.filter((ref) => program.result(ref) !== -14)).toEqual([]);
  },
);

test(
  'device.migration.precopy-info',
  'in the PRE_COPY states the stream tells how much is left to read, in others it does not',
  {
    covers: [VFIO_MIG_GET_PRECOPY_INFO, VFIO_MIG_GET_PRECOPY_INFO.fails('EINVAL')],
    source: PRECOPY,
    needs,
  },
  (context) => {
    const { change } = migratable(context);
    const stream = change(VFIO_DEVICE_STATE_PRE_COPY);
    const info = tryPrecopyInfo(stream);
    expect(info).toSucceed(0);
    expect(info.value.initial_bytes).toBeGreaterThan(0n);
    change(VFIO_DEVICE_STATE_PRE_COPY_P2P);
    expect(tryPrecopyInfo(stream).get()).toEqual(info.value);
    expect(BigInt(readStream(stream).length)).toBe(info.value.initial_bytes);
    expect(tryPrecopyInfo(stream).get().initial_bytes).toBe(0n);
    const { size } = vfio_precopy_info;
    expect(tryPrecopyInfo(stream, { argsz: size - 1 })).toFailWith('EINVAL');
    expect(tryPrecopyInfo(stream, { argsz: size + 8 })).toSucceed(0);
    expect(sys.ioctl(stream, VFIO_MIG_GET_PRECOPY_INFO.request, 0n)).toBe(-14);
    const other = { name: 'an unknown request', request: VFIO_MIG_GET_PRECOPY_INFO.request + 1 };
    expect(ioctl(stream, other)).toFailWith('ENOTTY');
    change(VFIO_DEVICE_STATE_STOP_COPY);
    expect(tryPrecopyInfo(stream)).toFailWith('EINVAL');
  },
);

test(
  'device.migration.precopy-info-v2',
  'VFIO_PRECOPY_INFO has flags for who asked for them, until the device is closed',
  {
    covers: [VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2')],
    source: [
      PRECOPY,
      'drivers/vfio/vfio_main.c vfio_ioctl_device_feature_migration_precopy_info_v2()',
      'drivers/vfio/vfio_main.c vfio_df_device_last_close()',
    ],
    since: '7.3',
    needs,
  },
  (context) => {
    const { name, group: number } = createMediated(context, MTTY);
    const group = context.openFreshGroup(number);
    context.containerWith(group);
    const flags = 0xa0;
    const toldFlags = (device: Device) => {
      const stream = changeMigrationState(context, device, VFIO_DEVICE_STATE_PRE_COPY);
      const { flags: told } = tryPrecopyInfo(stream, { flags }).get();
      changeMigrationState(context, device, VFIO_DEVICE_STATE_RUNNING);
      return told;
    };
    const device = context.openDevice(group, name);
    // Before, the flags are nobody's: they come back as they were.
    expect(toldFlags(device)).toBe(flags);
    const set = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2;
    expect(device.tryFeature(set)).toSucceed(0);
    expect(toldFlags(device)).toBe(0);
    device.close();
    expect(toldFlags(context.openDevice(group, name))).toBe(flags);
  },
);

test(
  'device.migration.stop-states',
  'states that only stop and start a device need no stream',
  { covers: [STATE], source: [NEXT_STATE, DEVICE_STATE], needs },
  (context) => {
    const { device, change } = migratable(context);
    for (const state of [
      VFIO_DEVICE_STATE_RUNNING_P2P,
      VFIO_DEVICE_STATE_STOP,
      VFIO_DEVICE_STATE_RUNNING_P2P,
      VFIO_DEVICE_STATE_RUNNING,
      VFIO_DEVICE_STATE_STOP,
      VFIO_DEVICE_STATE_RUNNING,
    ]) {
      expect(change(state)).toBe(-1);
      expect(migrationState(device)).toBe(state);
    }
  },
);
