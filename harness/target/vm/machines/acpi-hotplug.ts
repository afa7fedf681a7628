import type { Machine } from '../machine.ts';
import { TEST_BACKENDS, TEST_DEVICES, VTD, hotplugBy, machine as base } from './default.ts';

export const machine: Machine = {
  ...base,
  name: 'acpi-hotplug',
  title: 'default, but devices are plugged and unplugged by ACPI; buses cannot be reset',
  qemu: [...VTD, ...TEST_BACKENDS, ...hotplugBy('acpi')],
  devices: TEST_DEVICES,
};
