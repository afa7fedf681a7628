import { ContainerUser } from '../vfio/container-user.ts';
import type { TestContext } from './context.ts';

/**
 * Another process with the test's container.
 * @param lockLimit bytes that it may lock, without the capability to lock more; left out: as this process
 */
export function containerUser(
  { actor, container }: Pick<TestContext, 'actor' | 'container'>,
  lockLimit?: number,
): ContainerUser {
  const process = actor({
    inheritFds: [container.fd],
    ...(lockLimit !== undefined && { dropCaps: true, rlimits: { RLIMIT_MEMLOCK: lockLimit } }),
  });
  return new ContainerUser(process, container);
}
