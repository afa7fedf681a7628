import { existsSync, readFileSync } from 'node:fs';
import {
  ContainerUser,
  Program,
  RLIMIT_MEMLOCK,
  ROOT,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  containerUser,
  expect,
  mappingState,
  test,
  type Requirement,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const SIZE = BigInt(PAGE);
const IOVA = 0x100000n;
const PIN = 'drivers/vfio/vfio_iommu_type1.c vfio_pin_pages_remote()';
const ACCOUNT = 'drivers/vfio/vfio_iommu_type1.c mm_lock_acct()';
/** `<linux/capability.h>` */
const CAP_IPC_LOCK = 14n;
const LINUX_CAPABILITY_VERSION_3 = 0x20080522;
/** `<linux/sched.h>` */
const CLONE_NEWUSER = 0x10000000;
const EXCEEDED = /RLIMIT_MEMLOCK \(\d+\) exceeded/;

const USER_NAMESPACES: Requirement = {
  name: 'user namespaces',
  missing: () =>
    existsSync('/proc/self/ns/user') ? null : 'the kernel has no user namespaces (CONFIG_USER_NS)',
};

const options = {
  covers: [VFIO_IOMMU_MAP_DMA.fails('ENOMEM')],
  source: [PIN, ACCOUNT],
  needs: [ROOT],
  provokes: [EXCEEDED],
};

/** Changes the limit of a process from inside. */
function setLimit(user: ContainerUser, soft: number, hard: number): void {
  const program = new Program();
  const limit = program.data(16);
  limit.bytes.writeBigUInt64LE(BigInt(soft), 0);
  limit.bytes.writeBigUInt64LE(BigInt(hard), 8);
  const set = program.syscall('prlimit64', 0, RLIMIT_MEMLOCK, limit, 0);
  user.actor.run(program);
  expect(program.result(set)).toBe(0);
}

/** Takes one capability from a process, from inside, and leaves it the others. */
function dropCapability({ actor }: ContainerUser, capability: bigint): void {
  const status = readFileSync(`/proc/${actor.pid}/status`, 'utf8');
  const permitted = BigInt(`0x${/^CapPrm:\s*(\w+)/m.exec(status)![1]}`) & ~(1n << capability);
  const [low, high] = [Number(permitted & 0xffff_ffffn), Number(permitted >> 32n)];
  const program = new Program();
  const header = program.data(8);
  header.bytes.writeUInt32LE(LINUX_CAPABILITY_VERSION_3);
  const sets = program.data(24);
  // Effective, permitted, inheritable: the lower 32 bits of each, then the upper ones.
  [low, low, 0, high, high, 0].forEach((bits, index) => sets.bytes.writeUInt32LE(bits, index * 4));
  const set = program.syscall('capset', header, sets);
  actor.run(program);
  expect(program.result(set)).toBe(0);
}

/** 512 pages are pinned at a time: limits below and above that. */
for (const pages of [1, 16, 600]) {
  test(
    `container.memlock.exact.${pages}-pages`,
    `a limit of ${pages} pages allows a mapping of that size, and refuses one page more with ENOMEM`,
    options,
    (context) => {
      const user = containerUser(context, pages * PAGE);
      const vaddr = user.memory((pages + 1) * PAGE);
      const before = mappingState(context.container);
      const map = { iova: IOVA, vaddr, size: BigInt(pages + 1) * SIZE };
      expect(user.tryMapDma(map)).toFailWith('ENOMEM');
      expect(user.locked()).toEqual({ VmLck: 0, VmPin: 0 });
      expect(mappingState(context.container)).toEqual(before);
      expect(user.unmapDma({ iova: 0n, size: 1n << 32n })).toBe(0n);
      const allowed = { ...map, size: BigInt(pages) * SIZE };
      expect(user.tryMapDma(allowed)).toSucceed(0);
      expect(user.locked().VmLck).toBe(pages * 4);
      expect(user.unmapDma({ iova: IOVA, size: allowed.size })).toBe(allowed.size);
      expect(user.locked()).toEqual({ VmLck: 0, VmPin: 0 });
      expect(mappingState(context.container)).toEqual(before);
    },
  );
}

test(
  'container.memlock.sum',
  'the limit holds for the sum of all mappings, and an unmap makes room again',
  { ...options, covers: [VFIO_IOMMU_MAP_DMA.fails('ENOMEM'), VFIO_IOMMU_UNMAP_DMA] },
  (context) => {
    const user = containerUser(context, 8 * PAGE);
    const vaddr = user.memory(8 * PAGE);
    const at = (page: number, pages: number) => ({
      iova: IOVA + BigInt(page) * SIZE,
      vaddr: vaddr + BigInt(page) * SIZE,
      size: BigInt(pages) * SIZE,
    });
    expect(user.tryMapDma(at(0, 5))).toSucceed(0);
    expect(user.tryMapDma(at(5, 2))).toSucceed(0);
    expect(user.locked().VmLck).toBe(28);
    expect(user.tryMapDma({ ...at(8, 2), vaddr })).toFailWith('ENOMEM');
    expect(user.tryMapDma(at(7, 1))).toSucceed(0);
    expect(user.tryMapDma({ ...at(9, 1), vaddr })).toFailWith('ENOMEM');
    expect(user.locked().VmLck).toBe(32);
    expect(user.unmapDma({ iova: at(5, 2).iova, size: 2n * SIZE })).toBe(2n * SIZE);
    expect(user.tryMapDma({ ...at(16, 3), vaddr })).toFailWith('ENOMEM');
    expect(user.tryMapDma({ ...at(16, 2), vaddr })).toSucceed(0);
    expect(user.locked().VmLck).toBe(32);
  },
);

test(
  'container.memlock.zero',
  'with a limit of nothing a process without CAP_IPC_LOCK maps nothing',
  options,
  (context) => {
    const user = containerUser(context, 0);
    const vaddr = user.memory(PAGE);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: SIZE })).toFailWith('ENOMEM');
    expect(user.locked().VmLck).toBe(0);
  },
);

test(
  'container.memlock.rounded-down',
  'a limit that is no multiple of the page size is rounded down',
  options,
  (context) => {
    const user = containerUser(context, 3 * PAGE + PAGE - 1);
    const vaddr = user.memory(4 * PAGE);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: 4n * SIZE })).toFailWith('ENOMEM');
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: 3n * SIZE })).toSucceed(0);
  },
);

test(
  'container.memlock.unlimited',
  'without a limit a process without CAP_IPC_LOCK maps what it likes',
  { ...options, covers: [VFIO_IOMMU_MAP_DMA] },
  (context) => {
    const user = containerUser(context, Infinity);
    const vaddr = user.memory(1024 * PAGE);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: 1024n * SIZE })).toSucceed(0);
    expect(user.locked().VmLck).toBe(4096);
  },
);

test(
  'container.memlock.capability',
  'CAP_IPC_LOCK lifts the limit, but the memory is counted all the same',
  { ...options, covers: [VFIO_IOMMU_MAP_DMA] },
  ({ actor, container }) => {
    const process = actor({ inheritFds: [container.fd], rlimits: { RLIMIT_MEMLOCK: 0 } });
    const user = new ContainerUser(process, container);
    const vaddr = user.memory(16 * PAGE);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: 16n * SIZE })).toSucceed(0);
    expect(user.locked().VmLck).toBe(64);
    expect(user.unmapDma({ iova: IOVA, size: 16n * SIZE })).toBe(16n * SIZE);
    expect(user.locked().VmLck).toBe(0);
  },
);

test(
  'container.memlock.soft',
  'it is the soft limit that counts, which the process may raise up to the hard one',
  options,
  (context) => {
    const user = containerUser(context, 8 * PAGE);
    const vaddr = user.memory(8 * PAGE);
    const map = { iova: IOVA, vaddr, size: 6n * SIZE };
    setLimit(user, 4 * PAGE, 8 * PAGE);
    expect(user.tryMapDma(map)).toFailWith('ENOMEM');
    expect(user.locked().VmLck).toBe(0);
    setLimit(user, 8 * PAGE, 8 * PAGE);
    expect(user.tryMapDma(map)).toSucceed(0);
  },
);

test(
  'container.memlock.other-capability',
  'no other capability than CAP_IPC_LOCK lifts the limit',
  options,
  ({ actor, container }) => {
    const process = actor({ inheritFds: [container.fd], rlimits: { RLIMIT_MEMLOCK: PAGE } });
    const user = new ContainerUser(process, container);
    const vaddr = user.memory(2 * PAGE);
    dropCapability(user, CAP_IPC_LOCK);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: 2n * SIZE })).toFailWith('ENOMEM');
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: SIZE })).toSucceed(0);
  },
);

test(
  'container.memlock.user-namespace',
  'CAP_IPC_LOCK in a user namespace of its own lifts no limit',
  { ...options, needs: [ROOT, USER_NAMESPACES] },
  ({ actor, container }) => {
    const process = actor({ inheritFds: [container.fd], rlimits: { RLIMIT_MEMLOCK: PAGE } });
    const user = new ContainerUser(process, container);
    const vaddr = user.memory(2 * PAGE);
    const program = new Program();
    const unshare = program.syscall('unshare', CLONE_NEWUSER);
    process.run(program);
    expect(program.result(unshare)).toBe(0);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: 2n * SIZE })).toFailWith('ENOMEM');
    expect(user.locked().VmLck).toBe(0);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: SIZE })).toSucceed(0);
  },
);

test(
  'container.memlock.unprivileged-user',
  'a user without any privilege maps memory within the limit through fds that were handed over',
  options,
  ({ actor, container }) => {
    const process = actor({
      uid: 65534,
      gid: 65534,
      inheritFds: [container.fd],
      rlimits: { RLIMIT_MEMLOCK: 4 * PAGE },
    });
    const user = new ContainerUser(process, container);
    const vaddr = user.memory(5 * PAGE);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: 5n * SIZE })).toFailWith('ENOMEM');
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: 4n * SIZE })).toSucceed(0);
    expect(user.unmapDma({ iova: IOVA, size: 4n * SIZE })).toBe(4n * SIZE);
  },
);

test(
  'container.memlock.same-page-twice',
  'the limit counts memory once for each mapping of it',
  options,
  (context) => {
    const user = containerUser(context, 3 * PAGE);
    const vaddr = user.memory(PAGE);
    for (const iova of [IOVA, 2n * IOVA, 3n * IOVA]) {
      expect(user.tryMapDma({ iova, vaddr, size: SIZE })).toSucceed(0);
    }
    expect(user.tryMapDma({ iova: 4n * IOVA, vaddr, size: SIZE })).toFailWith('ENOMEM');
    expect(user.locked().VmLck).toBe(12);
  },
);

test(
  'container.memlock.with-mlock',
  'what the process locked with mlock counts against the same limit',
  options,
  (context) => {
    const user = containerUser(context, 4 * PAGE);
    const vaddr = user.memory(4 * PAGE);
    const program = new Program();
    const lock = program.syscall('mlock', vaddr, 2 * PAGE);
    user.actor.run(program);
    expect(program.result(lock)).toBe(0);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: 3n * SIZE })).toFailWith('ENOMEM');
    expect(user.locked().VmLck).toBe(8);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: 2n * SIZE })).toSucceed(0);
    expect(user.locked().VmLck).toBe(16);
  },
);

test(
  'container.memlock.lowered-later',
  'a limit that falls below what is mapped stops new mappings, not the unmapping of old ones',
  options,
  (context) => {
    const user = containerUser(context, 8 * PAGE);
    const vaddr = user.memory(8 * PAGE);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: 6n * SIZE })).toSucceed(0);
    setLimit(user, PAGE, PAGE);
    expect(user.tryMapDma({ iova: 2n * IOVA, vaddr, size: SIZE })).toFailWith('ENOMEM');
    expect(user.unmapDma({ iova: IOVA, size: 6n * SIZE })).toBe(6n * SIZE);
    expect(user.locked().VmLck).toBe(0);
    expect(user.tryMapDma({ iova: IOVA, vaddr, size: SIZE })).toSucceed(0);
  },
);

test(
  'container.memlock.two-containers',
  'the limit belongs to the process: two containers share it',
  { ...options, device: 'edu', uses: ['edu-rp'] },
  ({ container, containerWith, openGroup, actor }) => {
    const other = containerWith(openGroup('edu-rp'));
    const process = actor({
      dropCaps: true,
      inheritFds: [container.fd, other.fd],
      rlimits: { RLIMIT_MEMLOCK: 4 * PAGE },
    });
    const first = new ContainerUser(process, container);
    const second = new ContainerUser(process, other);
    const vaddr = first.memory(4 * PAGE);
    expect(first.tryMapDma({ iova: IOVA, vaddr, size: 3n * SIZE })).toSucceed(0);
    expect(second.tryMapDma({ iova: IOVA, vaddr, size: 2n * SIZE })).toFailWith('ENOMEM');
    expect(second.tryMapDma({ iova: IOVA, vaddr, size: SIZE })).toSucceed(0);
    expect(first.locked().VmLck).toBe(16);
  },
);
