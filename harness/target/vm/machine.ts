/** A PCI function of a machine. The tree of devices is the PCI topology that the guest sees. */
export interface MachineDevice {
  /** Address on its parent's bus: `slot.function`, hexadecimal as lspci prints it. */
  at: string;
  /** QEMU's name for it and its properties, as after `-device`. */
  device: string;
  /** Name by which tests ask for it; also QEMU's id, so `device_del` and HMP know it by the role. */
  role?: string;
  /** Functions on the bus behind it: only ports and bridges have one. */
  behind?: MachineDevice[];
  /** Number of the bus behind it, two hexadecimal digits, if it is a root bus: of `pxb-pcie` only. */
  rootBus?: string;
}

/** A virtual machine as data: what QEMU emulates and how Linux is told to use it. */
export interface Machine {
  name: string;
  /** One line for `vfio-conformance run --help` and the reports. */
  title: string;
  /** Arguments of QEMU that are not PCI functions: `-M`, `-cpu`, `-object`, `-global`. */
  qemu: string[];
  /** `-cpu`; its value does not depend on the accelerator. */
  cpu: string;
  /** Size of the guest's memory in MiB. */
  memoryMiB: number;
  /** Linux command line, appended to what every guest gets. */
  append: string[];
  /** Modules to load in the initramfs before any other, for instance virtio_iommu. */
  firstModules: string[];
  devices: MachineDevice[];
}

/** A device with where it sits: what is needed to make it, find it in the guest and plug it again. */
export interface PlacedDevice {
  id: string;
  role?: string;
  /** `slot.function` steps from the root bus; a root bus other than 0 is named in the first: `80:00.0`. */
  path: string[];
  /** The value of QEMU's `-device`. */
  argument: string;
}

const ROOT_BUS = 'pcie.0';
/** Devices that own a bus below them must have a chassis and slot number that no other has. */
const PORTS = /^(pcie-root-port|ioh3420|xio3130-downstream)\b/;

/**
 * All devices of a machine in the order in which QEMU has to create them: parents first.
 * @param optionRom path for those that ask for `romfile=@ROM@`
 */
export function placeDevices(machine: Machine, optionRom = '@ROM@'): PlacedDevice[] {
  const placed: PlacedDevice[] = [];
  let slot = 0;
  const place = (device: MachineDevice, bus: string, above: string[], root = ''): void => {
    const path = [...above, root + device.at];
    const id = device.role ?? `at-${path.join('-').replace(/[.:]/g, '_')}`;
    const chassis = PORTS.test(device.device) ? `,chassis=${++slot},slot=${slot}` : '';
    const rootNumber = device.rootBus === undefined ? '' : `,bus_nr=0x${device.rootBus}`;
    placed.push({
      id,
      role: device.role,
      path,
      argument: `${device.device.replace('@ROM@', optionRom)},id=${id},bus=${bus},addr=${qemuAddress(device.at)}${chassis}${rootNumber}`,
    });
    const { rootBus } = device;
    for (const child of device.behind ?? []) {
      if (rootBus === undefined) place(child, id, path);
      else place(child, id, [], `${rootBus}:`);
    }
  };
  for (const device of machine.devices) place(device, ROOT_BUS, []);
  return placed;
}

/** Role name → path of its device, as in {@link PlacedDevice}. */
export function rolePaths(machine: Machine): Record<string, string[]> {
  return Object.fromEntries(
    placeDevices(machine).flatMap(({ role, path }) => (role ? [[role, path]] : [])),
  );
}

/** `1c.2` as QEMU's `addr` property takes it: `0x1c.0x2`. */
function qemuAddress(at: string): string {
  const [slot = '', fn = '0'] = at.split('.');
  return `0x${slot}.0x${fn}`;
}
