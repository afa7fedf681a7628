import { BLACK_BOX_SIZE } from '../black-box.ts';
import type { Machine, PlacedDevice } from './machine.ts';
import type { Accelerator } from './accelerator.ts';
import type { SessionFiles } from './session-files.ts';

/** Everything that decides how QEMU is called. */
export interface QemuPlan {
  machine: Machine;
  devices: PlacedDevice[];
  accelerator: Accelerator;
  vmlinuz: string;
  initramfs: string;
  /** Words for the Linux command line, after those of the harness and of the machine. */
  append: string[];
  /** Arguments of the user's for QEMU, last. */
  extra: string[];
  files: Pick<SessionFiles, 'sockets' | 'consoleInput' | 'resultsShare' | 'blackBox'> & {
    console: { path: string };
  };
}

/**
 * The Linux command line of a guest. What every guest needs and why:
 * no_timer_check: under load the boot check of the timer panics; tsc=reliable: emulated clocks seem
 * unstable; panic=-1: a panic ends QEMU at once; nokaslr: addresses in logs match System.map;
 * shpchp on a conventional bridge would make its group not viable.
 */
export function linuxCommandLine(machine: Machine, append: string[]): string {
  return [
    'console=ttyS0',
    'no_timer_check',
    'tsc=reliable',
    'panic=-1',
    'nokaslr',
    'mitigations=off',
    'sysrq_always_enabled=1',
    // Marks of tests must not fall to the rate limit.
    'printk.devkmsg=on',
    'initcall_blacklist=shpcd_init',
    'hugepagesz=2M',
    'hugepages=96',
    'hugepagesz=1G',
    'hugepages=1',
    ...machine.append,
    ...append,
  ].join(' ');
}

/** The arguments of qemu-system-x86_64. */
export function qemuArguments(plan: QemuPlan): string[] {
  const { machine, accelerator, files } = plan;
  return [
    '-nodefaults',
    '-no-user-config',
    ...['-display', 'none'],
    ...machine.qemu,
    ...['-cpu', machine.cpu],
    ...['-accel', accelerator.argument],
    ...['-smp', '2'],
    ...['-m', String(machine.memoryMiB)],
    ...['-kernel', plan.vmlinuz],
    ...['-initrd', plan.initramfs],
    ...['-append', linuxCommandLine(machine, plan.append)],
    // A reset or a panic ends QEMU: the supervisor boots anew, with a clean machine.
    ...['-action', 'reboot=shutdown,panic=exit-failure'],
    ...['-device', 'pvpanic'],
    ...['-chardev', `socket,id=qmp,path=${files.sockets.qmp},server=on,wait=off`],
    ...['-mon', 'chardev=qmp,mode=control'],
    '-chardev',
    `file,id=console,path=${escapeCommas(files.console.path)},append=on,input-path=${files.consoleInput}`,
    ...['-serial', 'chardev:console'],
    ...infrastructure(files),
    ...plan.devices.flatMap(({ argument }) => ['-device', argument]),
    ...plan.extra,
  ];
}

/** Where the guest finds the memory of the black box: the BAR of the last function below. */
export const BLACK_BOX_IN_GUEST = '/sys/bus/pci/devices/0000:00:1e.3/resource2';

/**
 * The virtio devices that carry the root file system, the results and the events, and the memory
 * that outlives the guest: one slot.
 */
function infrastructure({ sockets, resultsShare, blackBox }: QemuPlan['files']): string[] {
  return [
    '-fsdev',
    'local,id=root,path=/,security_model=none,multidevs=remap,readonly=on',
    ...[
      '-device',
      'virtio-9p-pci,fsdev=root,mount_tag=root,bus=pcie.0,addr=0x1e.0x0,multifunction=on',
    ],
    '-fsdev',
    `local,id=results,path=${escapeCommas(resultsShare)},security_model=none,multidevs=remap`,
    ...['-device', 'virtio-9p-pci,fsdev=results,mount_tag=results,bus=pcie.0,addr=0x1e.0x1'],
    ...['-device', 'virtio-serial-pci,id=channels,bus=pcie.0,addr=0x1e.0x2'],
    ...['-chardev', `socket,id=events,path=${sockets.events},server=on,wait=off`],
    ...['-device', 'virtserialport,bus=channels.0,chardev=events,name=conformance.events'],
    ...['-chardev', `socket,id=status,path=${sockets.status},server=on,wait=off`],
    ...['-device', 'virtserialport,bus=channels.0,chardev=status,name=conformance.status'],
    '-object',
    `memory-backend-file,id=black-box,mem-path=${escapeCommas(blackBox)},size=${BLACK_BOX_SIZE},share=on`,
    ...['-device', 'ivshmem-plain,memdev=black-box,bus=pcie.0,addr=0x1e.0x3'],
  ];
}

/** In QEMU's options a comma inside a value is written twice. */
function escapeCommas(path: string): string {
  return path.replaceAll(',', ',,');
}
