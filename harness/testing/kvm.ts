import { existsSync } from 'node:fs';
import { ERRNO } from '../abi/errno.ts';
import { loadModule, moduleAvailable } from '../kernel/modules.ts';
import { Guest } from '../vfio/guest.ts';
import { VirtualMachine } from '../vfio/virtual-machine.ts';
import type { TestContext } from './context.ts';
import type { Requirement } from './requirement.ts';

const DRIVERS = ['kvm_amd', 'kvm_intel'];

/** Loads the module of whichever processor this is; false if neither takes it. */
function loadKvm(): boolean {
  return DRIVERS.filter(moduleAvailable).some((driver) => {
    try {
      loadModule(driver);
      return existsSync('/dev/kvm');
    } catch {
      return false;
    }
  });
}

/** Virtual machines of this machine's own. */
export const KVM: Requirement = {
  name: 'kvm',
  missing: () =>
    existsSync('/dev/kvm') || loadKvm()
      ? null
      : 'there is no /dev/kvm: the processor has no virtualisation, or the kernel no KVM',
};

/** Whether KVM emulates interrupt controllers; what it says of KVM_CAP_IRQCHIP is not that. */
function emulatesInterruptControllers(): boolean {
  const machine = VirtualMachine.create();
  const answer = machine.tryCreateInterruptControllers();
  machine.close();
  return answer.result !== -ERRNO.ENOTTY;
}

let hasControllers: boolean | undefined;

/** A guest that runs: KVM with interrupt controllers, on the one architecture that there is code for. */
export const KVM_GUEST: Requirement = {
  name: 'kvm on x86',
  missing() {
    if (process.arch !== 'x64') return 'there is guest code for x86 only';
    const missing = KVM.missing();
    if (missing !== null) return missing;
    hasControllers ??= emulatesInterruptControllers();
    return hasControllers ? null : 'KVM emulates no interrupt controllers (CONFIG_KVM_IOAPIC)';
  },
};

/** A guest that counts its interrupts; gone after the test. Needs `KVM_GUEST`. */
export function bootGuest(
  { defer }: Pick<TestContext, 'defer'>,
  options?: Parameters<typeof Guest.boot>[0],
): Guest {
  const guest = Guest.boot(options);
  defer(() => guest.close());
  return guest;
}
