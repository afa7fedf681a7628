/**
 * What mapping rests on, without VFIO: getting the pages, pinning them. The reports take these off
 * the figures of container.dma.
 */
import {
  IORING_REGISTER_BUFFERS,
  IORING_UNREGISTER_BUFFERS,
  MADV_DONTNEED,
  MADV_POPULATE_WRITE,
  MAP_ANONYMOUS,
  MAP_POPULATE,
  MAP_PRIVATE,
  PROT_READ,
  IO_URING_PARAMS_SIZE,
  KernelError,
  PROT_WRITE,
  Program,
  bench,
  sys,
  type TestContext,
} from '../../harness/testing/index.ts';
import { SPLIT_AREAS, splitOptions } from './split-areas.ts';

const MIB = 1 << 20;

for (const area of SPLIT_AREAS) {
  const { kind, size, name } = area;
  const common = splitOptions(area);

  bench(
    `container.floor.fault-in.${kind}.${name}`,
    `getting ${name} of ${kind} pages, as MAP_POPULATE does`,
    common,
    ({ memory }, measure) => {
      const { address } = memory({ size, kind });
      measure((program, timed) => {
        program.syscall('madvise', address, size, MADV_DONTNEED);
        timed('', program.syscall('madvise', address, size, MADV_POPULATE_WRITE));
      });
    },
  );

  bench(
    `container.floor.mlock.${kind}.${name}`,
    `locking ${name} of populated ${kind} memory`,
    { ...common, operations: ['lock', 'unlock'] },
    ({ memory }, measure) => {
      const { address } = memory({ size, kind });
      measure((program, timed) => {
        timed('lock', program.syscall('mlock', address, size));
        timed('unlock', program.syscall('munlock', address, size));
      });
    },
  );

  bench(
    `container.floor.io-uring.${kind}.${name}`,
    `pinning ${name} of populated ${kind} memory without an IOMMU: fixed buffers of io_uring`,
    { ...common, operations: ['pin', 'unpin'] },
    (context, measure) => {
      const { address } = context.memory({ size, kind });
      const ring = openRing(context);
      measure((program, timed) => {
        const iovec = program.data(16);
        iovec.bytes.writeBigUInt64LE(address, 0);
        iovec.bytes.writeBigUInt64LE(BigInt(size), 8);
        const register = [ring, IORING_REGISTER_BUFFERS, iovec, 1] as const;
        timed('pin', program.syscall('io_uring_register', ...register));
        timed('unpin', program.syscall('io_uring_register', ring, IORING_UNREGISTER_BUFFERS, 0, 0));
      });
    },
  );
}

for (const [size, name] of [
  [4096, '4KiB'],
  [64 * MIB, '64MiB'],
] as const) {
  bench(
    `container.floor.map-populate.${name}`,
    `mmap of ${name} with MAP_POPULATE, of whatever pages the kernel chooses`,
    { parameters: { size, pages: 'any' }, units: { bytes: size } },
    (_, measure) =>
      measure((program, timed) => {
        const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
        const area = program.syscall('mmap', 0, size, PROT_READ | PROT_WRITE, flags, -1, 0);
        timed('', area);
        program.syscall('munmap', area, size);
      }),
  );
}

function openRing({ defer }: TestContext): number {
  const program = new Program();
  const call = program.syscall('io_uring_setup', 1, program.data(IO_URING_PARAMS_SIZE));
  const fd = program.run().result(call);
  if (fd < 0) throw new KernelError(fd, 'io_uring_setup');
  defer(() => void sys.close(fd));
  return fd;
}
