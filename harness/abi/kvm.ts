/** `<linux/kvm.h>`: what eventfds of VFIO meet in a virtual machine, and KVM's VFIO device. */
import { _IO, _IOW, _IOWR } from './ioc.ts';
import { Ioctl } from './ioctl.ts';
import { KVMIO } from './kvm-base.ts';
import { address, bytes, fd, flags, oneOf, struct, u32, u64 } from './struct.ts';

export * from './kvm-base.ts';
export * from './kvm-guest.ts';

export const KVM_CAP_IRQCHIP = 0;
export const KVM_CAP_IRQFD = 32;
export const KVM_CAP_IOEVENTFD = 36;
export const KVM_CAP_IRQFD_RESAMPLE = 82;
export const KVM_CAP_DEVICE_CTRL = 89;

export const KVM_GET_API_VERSION = new Ioctl(
  'KVM_GET_API_VERSION',
  _IO(KVMIO, 0x00),
  'kvm',
  undefined,
);

/** The machine type by value (0: the default); gives the fd of a virtual machine. */
export const KVM_CREATE_VM = new Ioctl('KVM_CREATE_VM', _IO(KVMIO, 0x01), 'kvm', undefined, {
  argument: 'value',
  returns: 'kvm-vm',
});

/** The capability by value; > 0 means supported. */
export const KVM_CHECK_EXTENSION = new Ioctl(
  'KVM_CHECK_EXTENSION',
  _IO(KVMIO, 0x03),
  'kvm',
  undefined,
  {
    argument: 'value',
    values: {
      KVM_CAP_IRQCHIP,
      KVM_CAP_IRQFD,
      KVM_CAP_IOEVENTFD,
      KVM_CAP_IRQFD_RESAMPLE,
      KVM_CAP_DEVICE_CTRL,
    },
  },
);

export const KVM_CREATE_IRQCHIP = new Ioctl(
  'KVM_CREATE_IRQCHIP',
  _IO(KVMIO, 0x60),
  'kvm-vm',
  undefined,
);

export const KVM_IRQFD_FLAG_DEASSIGN = 1 << 0;
export const KVM_IRQFD_FLAG_RESAMPLE = 1 << 1;

/** The fds are unsigned here, unlike elsewhere. */
export const kvm_irqfd = struct('kvm_irqfd', {
  fd: { ...u32, meaning: 'fd' as const },
  gsi: u32,
  flags: flags(u32, { KVM_IRQFD_FLAG_DEASSIGN, KVM_IRQFD_FLAG_RESAMPLE }),
  resamplefd: { ...u32, meaning: 'fd' as const },
  pad: bytes(16),
});

export const KVM_IRQFD = new Ioctl(
  'KVM_IRQFD',
  _IOW(KVMIO, 0x76, kvm_irqfd.size),
  'kvm-vm',
  kvm_irqfd,
  { flags: { KVM_IRQFD_FLAG_DEASSIGN, KVM_IRQFD_FLAG_RESAMPLE } },
);

export const KVM_IOEVENTFD_FLAG_DATAMATCH = 1 << 0;
export const KVM_IOEVENTFD_FLAG_PIO = 1 << 1;
export const KVM_IOEVENTFD_FLAG_DEASSIGN = 1 << 2;
export const KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY = 1 << 3;

const IOEVENTFD_FLAGS = {
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  KVM_IOEVENTFD_FLAG_PIO,
  KVM_IOEVENTFD_FLAG_DEASSIGN,
  KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY,
};

/** `addr` is an address of the virtual machine; `len` 1, 2, 4 or 8 bytes, or 0 for any. */
export const kvm_ioeventfd = struct('kvm_ioeventfd', {
  datamatch: u64,
  addr: u64,
  len: u32,
  fd,
  flags: flags(u32, IOEVENTFD_FLAGS),
  pad: bytes(36),
});

export const KVM_IOEVENTFD = new Ioctl(
  'KVM_IOEVENTFD',
  _IOW(KVMIO, 0x79, kvm_ioeventfd.size),
  'kvm-vm',
  kvm_ioeventfd,
  { flags: IOEVENTFD_FLAGS },
);

export const KVM_CREATE_DEVICE_TEST = 1;

/** The type of KVM's VFIO device. */
export const KVM_DEV_TYPE_VFIO = 4;

/** `fd` returns the new device. */
export const kvm_create_device = struct('kvm_create_device', {
  type: oneOf(u32, { KVM_DEV_TYPE_VFIO }),
  fd: { ...u32, meaning: 'fd' as const },
  flags: flags(u32, { KVM_CREATE_DEVICE_TEST }),
});

export const KVM_CREATE_DEVICE = new Ioctl(
  'KVM_CREATE_DEVICE',
  _IOWR(KVMIO, 0xe0, kvm_create_device.size),
  'kvm-vm',
  kvm_create_device,
  { flags: { KVM_CREATE_DEVICE_TEST }, values: { KVM_DEV_TYPE_VFIO } },
);

export const KVM_DEV_VFIO_FILE = 1;
export const KVM_DEV_VFIO_FILE_ADD = 1;
export const KVM_DEV_VFIO_FILE_DEL = 2;
/** Names from before 6.6, when only groups could be added. */
export const KVM_DEV_VFIO_GROUP = KVM_DEV_VFIO_FILE;
export const KVM_DEV_VFIO_GROUP_ADD = KVM_DEV_VFIO_FILE_ADD;
export const KVM_DEV_VFIO_GROUP_DEL = KVM_DEV_VFIO_FILE_DEL;
export const KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE = 3;

/** `addr` points to the value: for KVM_DEV_VFIO_FILE an `int` with the fd of a group or device. */
export const kvm_device_attr = struct('kvm_device_attr', {
  flags: u32,
  group: oneOf(u32, { KVM_DEV_VFIO_FILE }),
  attr: u64,
  addr: address,
});

export const kvm_vfio_spapr_tce = struct('kvm_vfio_spapr_tce', { groupfd: fd, tablefd: fd });

const DEVICE_ATTRIBUTES = {
  KVM_DEV_VFIO_FILE_ADD,
  KVM_DEV_VFIO_FILE_DEL,
  KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE,
};

export const KVM_SET_DEVICE_ATTR = new Ioctl(
  'KVM_SET_DEVICE_ATTR',
  _IOW(KVMIO, 0xe1, kvm_device_attr.size),
  'kvm-device',
  kvm_device_attr,
  { values: DEVICE_ATTRIBUTES },
);

export const KVM_HAS_DEVICE_ATTR = new Ioctl(
  'KVM_HAS_DEVICE_ATTR',
  _IOW(KVMIO, 0xe3, kvm_device_attr.size),
  'kvm-device',
  kvm_device_attr,
  { values: DEVICE_ATTRIBUTES },
);
