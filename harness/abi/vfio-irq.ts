/** `<linux/vfio.h>`: interrupts of a device. */
import { argsz, fd, flags, oneOf, struct, u32, u8 } from './struct.ts';
import { vfioIoctl } from './vfio-base.ts';

export const VFIO_IRQ_INFO_EVENTFD = 1 << 0;
export const VFIO_IRQ_INFO_MASKABLE = 1 << 1;
export const VFIO_IRQ_INFO_AUTOMASKED = 1 << 2;
export const VFIO_IRQ_INFO_NORESIZE = 1 << 3;

const IRQ_FLAGS = {
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_NORESIZE,
};

/** Interrupt indexes of vfio-pci. */
export const VFIO_PCI_INTX_IRQ_INDEX = 0;
export const VFIO_PCI_MSI_IRQ_INDEX = 1;
export const VFIO_PCI_MSIX_IRQ_INDEX = 2;
export const VFIO_PCI_ERR_IRQ_INDEX = 3;
export const VFIO_PCI_REQ_IRQ_INDEX = 4;
export const VFIO_PCI_NUM_IRQS = 5;

/** The interrupt indexes of vfio-pci by name. */
export const PCI_IRQ_INDEXES = {
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
};

export const VFIO_CCW_IO_IRQ_INDEX = 0;
export const VFIO_CCW_CRW_IRQ_INDEX = 1;
export const VFIO_CCW_REQ_IRQ_INDEX = 2;
export const VFIO_CCW_NUM_IRQS = 3;

export const VFIO_AP_REQ_IRQ_INDEX = 0;
export const VFIO_AP_CFG_CHG_IRQ_INDEX = 1;
export const VFIO_AP_NUM_IRQS = 2;

export const VFIO_IRQ_SET_DATA_NONE = 1 << 0;
export const VFIO_IRQ_SET_DATA_BOOL = 1 << 1;
export const VFIO_IRQ_SET_DATA_EVENTFD = 1 << 2;
export const VFIO_IRQ_SET_ACTION_MASK = 1 << 3;
export const VFIO_IRQ_SET_ACTION_UNMASK = 1 << 4;
export const VFIO_IRQ_SET_ACTION_TRIGGER = 1 << 5;
export const VFIO_IRQ_SET_DATA_TYPE_MASK =
  VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_DATA_EVENTFD;
export const VFIO_IRQ_SET_ACTION_TYPE_MASK =
  VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_ACTION_TRIGGER;

const IRQ_SET_FLAGS = {
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
};

export const vfio_irq_info = struct('vfio_irq_info', {
  argsz,
  flags: flags(u32, IRQ_FLAGS),
  index: oneOf(u32, PCI_IRQ_INDEXES),
  count: u32,
});

/** Behind it `count` bools (u8) or eventfds (s32), as the DATA flag says. */
export const vfio_irq_set = struct(
  'vfio_irq_set',
  {
    argsz,
    flags: flags(u32, IRQ_SET_FLAGS),
    index: oneOf(u32, PCI_IRQ_INDEXES),
    start: u32,
    count: u32,
  },
  {
    name: 'data',
    element: u8,
    meaning: ({ flags, count }) => {
      const data = flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
      if (data === VFIO_IRQ_SET_DATA_EVENTFD) return { element: fd, count };
      if (data === VFIO_IRQ_SET_DATA_BOOL) return { element: u8, count };
      return undefined;
    },
  },
);

export const VFIO_DEVICE_GET_IRQ_INFO = vfioIoctl(
  'VFIO_DEVICE_GET_IRQ_INFO',
  9,
  'device',
  vfio_irq_info,
  { flags: IRQ_FLAGS, values: PCI_IRQ_INDEXES },
);

export const VFIO_DEVICE_SET_IRQS = vfioIoctl('VFIO_DEVICE_SET_IRQS', 10, 'device', vfio_irq_set, {
  flags: IRQ_SET_FLAGS,
  values: PCI_IRQ_INDEXES,
});
