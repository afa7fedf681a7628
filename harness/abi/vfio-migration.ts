/** `<linux/vfio.h>`: migration, the states of a device and the stream between them. */
import { argsz, fd, flags, oneOf, struct, u32, u64 } from './struct.ts';
import { vfioIoctl } from './vfio-base.ts';

export const VFIO_MIGRATION_STOP_COPY = 1 << 0;
export const VFIO_MIGRATION_P2P = 1 << 1;
export const VFIO_MIGRATION_PRE_COPY = 1 << 2;

/** enum vfio_device_mig_state */
export const VFIO_DEVICE_STATE_ERROR = 0;
export const VFIO_DEVICE_STATE_STOP = 1;
export const VFIO_DEVICE_STATE_RUNNING = 2;
export const VFIO_DEVICE_STATE_STOP_COPY = 3;
export const VFIO_DEVICE_STATE_RESUMING = 4;
export const VFIO_DEVICE_STATE_RUNNING_P2P = 5;
export const VFIO_DEVICE_STATE_PRE_COPY = 6;
export const VFIO_DEVICE_STATE_PRE_COPY_P2P = 7;
export const VFIO_DEVICE_STATE_NR = 8;

/** The states of a device under migration by name. */
export const MIGRATION_STATES = {
  VFIO_DEVICE_STATE_ERROR,
  VFIO_DEVICE_STATE_STOP,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_RUNNING_P2P,
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P,
};

/** States of the first migration protocol, which no kernel since 5.18 speaks. */
export const VFIO_DEVICE_STATE_V1_STOP = 0;
export const VFIO_DEVICE_STATE_V1_RUNNING = 1 << 0;
export const VFIO_DEVICE_STATE_V1_SAVING = 1 << 1;
export const VFIO_DEVICE_STATE_V1_RESUMING = 1 << 2;
export const VFIO_DEVICE_STATE_MASK =
  VFIO_DEVICE_STATE_V1_RUNNING | VFIO_DEVICE_STATE_V1_SAVING | VFIO_DEVICE_STATE_V1_RESUMING;

export const vfio_device_migration_info = struct('vfio_device_migration_info', {
  device_state: flags(u32, {
    VFIO_DEVICE_STATE_V1_RUNNING,
    VFIO_DEVICE_STATE_V1_SAVING,
    VFIO_DEVICE_STATE_V1_RESUMING,
  }),
  reserved: u32,
  pending_bytes: u64,
  data_offset: u64,
  data_size: u64,
});

export const vfio_device_feature_migration = struct('vfio_device_feature_migration', {
  flags: flags(u64, { VFIO_MIGRATION_STOP_COPY, VFIO_MIGRATION_P2P, VFIO_MIGRATION_PRE_COPY }),
});

/** `data_fd` is the stream which a change of state opens, -1 if it opens none. */
export const vfio_device_feature_mig_state = struct('vfio_device_feature_mig_state', {
  device_state: oneOf(u32, MIGRATION_STATES),
  data_fd: fd,
});

export const vfio_device_feature_mig_data_size = struct('vfio_device_feature_mig_data_size', {
  stop_copy_length: u64,
});

export const VFIO_PRECOPY_INFO_REINIT = 1 << 0;

/** `flags` means something only after VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2. */
export const vfio_precopy_info = struct('vfio_precopy_info', {
  argsz,
  flags: flags(u32, { VFIO_PRECOPY_INFO_REINIT }),
  initial_bytes: u64,
  dirty_bytes: u64,
});

/** On the fd of the migration stream, in the PRE_COPY states only. */
export const VFIO_MIG_GET_PRECOPY_INFO = vfioIoctl(
  'VFIO_MIG_GET_PRECOPY_INFO',
  21,
  'migration',
  vfio_precopy_info,
  { flags: { VFIO_PRECOPY_INFO_REINIT } },
);
