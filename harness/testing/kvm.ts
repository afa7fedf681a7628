import { existsSync } from 'node:fs';
import { loadModule, moduleAvailable } from '../kernel/modules.ts';
import { Guest } from '../vfio/guest.ts';
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

/** A guest that runs: KVM on the one architecture that there is code for. */
export const KVM_GUEST: Requirement = {
  name: 'kvm on x86',
  missing: () => (process.arch === 'x64' ? KVM.missing() : 'there is guest code for x86 only'),
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
