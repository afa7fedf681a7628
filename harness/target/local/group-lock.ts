import { createServer, type Server } from 'node:net';
import { UsageError } from '../errors.ts';

/** The IOMMU groups of functions; some functions have none. */
export function groupsOf(...functions: { iommuGroup: number | null }[]): number[] {
  return functions.flatMap(({ iommuGroup }) => iommuGroup ?? []);
}

/** IOMMU groups that this process holds. */
export interface GroupLocks {
  release(): void;
}

/**
 * Locks IOMMU groups against other runs, all or none. A lock is a name in the abstract namespace of
 * UNIX sockets: the kernel gives it to one process only, of whichever user, and takes it back however
 * that process ends.
 * @throws UsageError if another run holds one of them
 */
export async function lockGroups(groups: readonly number[]): Promise<GroupLocks> {
  const held: Server[] = [];
  const release = (): void => {
    for (const server of held.splice(0)) server.close();
  };
  for (const group of [...new Set(groups)].sort((a, b) => a - b)) {
    const server = await listen(`\0vfio-conformance/iommu-group/${group}`);
    if (!server) {
      release();
      throw new UsageError(
        `IOMMU group ${group} is taken by another run of vfio-conformance`,
        'wait until it has ended, or take other devices',
      );
    }
    held.push(server);
  }
  return { release };
}

/** The server that has the name now, or null if the name is another's. */
function listen(path: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(null) : reject(error),
    );
    server.listen(path, () => resolve(server));
  });
}
