import { spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder } from '../../../setup/paths.mjs';
import type { Kernel } from './kernels.ts';
import { QEMU } from './qemu.ts';

/** How QEMU executes the guest. */
export interface Accelerator {
  name: 'kvm' | 'tcg';
  /** The value of `-accel`. */
  argument: string;
  /** Why this one was taken. */
  reason: string;
  /** Factor on time limits. */
  timeoutScale: number;
}

/** A guest that boots under KVM says so within a second or two; one that hangs never does. */
const PROBE_LIMIT_MS = 10_000;

// With several threads QEMU 10 breaks under repeated resets and rebinds (iotlb_to_section assertions).
const tcg = (reason: string): Accelerator => ({
  name: 'tcg',
  argument: 'tcg,thread=single',
  reason,
  timeoutScale: 1,
});
const kvm = (reason: string): Accelerator => ({
  name: 'kvm',
  argument: 'kvm',
  reason,
  timeoutScale: 1,
});

/**
 * KVM if a guest really boots under it, else emulation: /dev/kvm may exist and not work. The
 * answer of a trial is kept until this machine boots again.
 */
export async function chooseAccelerator(
  kernel: Kernel,
  progress: (text: string) => void,
): Promise<Accelerator> {
  if (!/^flags\s*:.*\b(vmx|svm)\b/m.test(readText('/proc/cpuinfo')))
    return tcg('the CPU offers no virtualisation (neither vmx nor svm)');
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    return tcg('/dev/kvm is absent or not accessible');
  }
  const file = join(cacheFolder, 'kvm.json');
  const boot = `${readText('/proc/sys/kernel/random/boot_id').trim()} uid ${process.getuid?.()}`;
  try {
    const known = JSON.parse(readText(file)) as { boot: string; works: boolean; reason: string };
    if (known.boot === boot) return known.works ? kvm(known.reason) : tcg(known.reason);
  } catch {
    // never tried
  }
  progress('trying whether KVM works (once after each start of this machine)');
  const failure = await tryKvm(kernel);
  const works = failure === undefined;
  const reason = failure ?? 'a trial guest booted under KVM';
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify({ boot, works, reason }) + '\n');
  return works ? kvm(reason) : tcg(reason);
}

/** Boots a kernel without a root: it works if Linux speaks. Gives what went wrong. */
async function tryKvm(kernel: Kernel): Promise<string | undefined> {
  const child = spawn(
    QEMU,
    [
      '-nodefaults',
      '-display',
      'none',
      '-M',
      'q35,kernel-irqchip=split',
      '-cpu',
      'max',
      '-m',
      '512',
    ].concat(
      ['-accel', 'kvm', '-smp', '2', '-no-reboot', '-serial', 'stdio', '-kernel', kernel.vmlinuz],
      ['-append', 'console=ttyS0 panic=-1'],
    ),
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  return new Promise((resolve) => {
    let said = '';
    let errors = '';
    const limit = setTimeout(() => {
      child.kill('SIGKILL');
      resolve(`KVM: a trial guest did not boot within ${PROBE_LIMIT_MS / 1000} s`);
    }, PROBE_LIMIT_MS);
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1');
      // It looked for a root file system in vain: all that comes before has worked.
      if (said.includes('Unable to mount root fs')) {
        child.kill('SIGKILL');
        clearTimeout(limit);
        resolve(undefined);
      }
    });
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    child.on('error', (error) => resolve(`KVM: ${error.message}`));
    child.on('close', () => {
      clearTimeout(limit);
      resolve(
        `KVM: ${errors.trim().split('\n').at(-1) || 'the trial guest ended before it had booted'}`,
      );
    });
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
