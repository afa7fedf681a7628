import { Eventfd, eventually } from '../../harness/testing/index.ts';

/** Whether the kernel gives the number out again, so that nothing holds the eventfd any more. */
export function numberIsFree(id: number): boolean {
  const taken: Eventfd[] = [];
  let found = false;
  for (let count = 0; count < 32 && !found; count++) {
    const eventfd = new Eventfd();
    taken.push(eventfd);
    found = eventfd.id === id;
  }
  for (const eventfd of taken) eventfd.close();
  return found;
}

/** Waits for what the kernel lets go of later: RCU callbacks, work queues. */
export function numberComesBack(id: number): boolean {
  return eventually(() => numberIsFree(id), 10_000);
}
