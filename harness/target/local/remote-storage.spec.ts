import { join } from 'node:path';
import { expect, it } from 'vitest';
import { file, roots, useFakeMachine } from '../../../tests/fake-machine.ts';
import { remoteStorage } from './remote-storage.ts';

useFakeMachine();

const mount = (type: string): void =>
  file(join(roots.proc, 'self/mountinfo'), `36 35 0:51 / /data rw - ${type} source rw`);

it.each(['nfs4', 'pvfs2', 'fuse', 'fuse.ceph-fuse', 'fuse.rclone', 'fuse.s3fs', 'fuse.juicefs'])(
  'what is mounted as %s may come over the network',
  (type) => {
    mount(type);
    expect(remoteStorage(roots)).toBe(`/data (${type})`);
  },
);

it.each(['ext4', 'fuseblk', 'fusectl', 'fuse.lxcfs', 'fuse.mergerfs', 'fuse.Some-1.2.AppImage'])(
  'what is mounted as %s is on this machine',
  (type) => {
    mount(type);
    expect(remoteStorage(roots)).toBeNull();
  },
);
