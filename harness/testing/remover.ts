import { rescan } from '../pci/hotplug.ts';
import type { Actor } from '../shim/index.ts';
import type { TestContext } from './context.ts';

/**
 * A process that removes a function from its bus; after the test the function is found again. To be asked for
 * before anything is open: what is opened later is closed before these two wait for the removal, and the
 * removal waits for that.
 */
export function remover({ actor, defer }: Pick<TestContext, 'actor' | 'defer'>): Actor {
  const process = actor();
  defer(rescan);
  return process;
}
