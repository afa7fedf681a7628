/** Kinds of devices that tests know by name, by vendor and device id. */
export const DEVICE_KINDS: Readonly<Record<string, string>> = {
  '1234:11e8': 'edu',
  '1b36:0005': 'pci-testdev',
  '8086:10d3': 'e1000e',
  '8086:10c9': 'igb',
  '8086:10ca': 'igb-vf',
  '1b36:0010': 'nvme',
  '1af4:1110': 'ivshmem-doorbell',
  '1af4:1041': 'virtio-net',
  '1af4:1042': 'virtio-blk',
  '1b36:000d': 'qemu-xhci',
};
