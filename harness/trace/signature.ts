/** What the arguments and the result of each operation mean. */
import * as libc from '../abi/libc.ts';
import { fd, struct, u16, u64, type Names, type Struct } from '../abi/struct.ts';
import type { OpName } from '../shim/index.ts';

/** The meaning of an argument. `length` and `count` are positions of other arguments. */
export type Param =
  | { kind: 'fd' | 'dirfd' | 'pid' | 'int' | 'unsigned' | 'hex' | 'octal' | 'address' | 'width' }
  | { kind: 'path' }
  | { kind: 'flags'; names: Names; zero?: string }
  | { kind: 'value'; names: Names }
  /** Bytes that the kernel reads (`in`) or writes (`out`). */
  | { kind: 'in' | 'out'; length: number }
  | { kind: 'record'; layout: Struct<unknown> }
  | { kind: 'array'; element: Struct<unknown>; count: number }
  /** Two fds written by the kernel. */
  | { kind: 'fd-pair' }
  /** How a child ended, written by the kernel. */
  | { kind: 'status' }
  | { kind: 'ioctl-argument' };

export type ResultKind = 'int' | 'fd' | 'address' | 'pid' | 'time';

export interface Signature {
  params: readonly Param[];
  result: ResultKind;
}

function pick(prefix: RegExp): Names {
  return Object.fromEntries(
    Object.entries(libc).filter(
      (entry): entry is [string, number] => prefix.test(entry[0]) && typeof entry[1] === 'number',
    ),
  );
}

const OPEN_FLAGS: Names = Object.fromEntries(
  Object.entries(pick(/^O_/)).filter(([name]) => name !== 'O_ACCMODE'),
);
const POLL_EVENTS = pick(/^POLL/);

const timespec = struct('timespec', { tv_sec: u64, tv_nsec: u64 });
const pollfd = struct('pollfd', {
  fd,
  events: { ...u16, flags: POLL_EVENTS },
  revents: { ...u16, flags: POLL_EVENTS },
});
const rlimit = struct('rlimit', { rlim_cur: u64, rlim_max: u64 });

const FD: Param = { kind: 'fd' };
const DIRFD: Param = { kind: 'dirfd' };
const PID: Param = { kind: 'pid' };
const INT: Param = { kind: 'int' };
const UNSIGNED: Param = { kind: 'unsigned' };
const HEX: Param = { kind: 'hex' };
const OCTAL: Param = { kind: 'octal' };
const ADDRESS: Param = { kind: 'address' };
const WIDTH: Param = { kind: 'width' };
const PATH: Param = { kind: 'path' };
const TIMESPEC: Param = { kind: 'record', layout: timespec };

const input = (length: number): Param => ({ kind: 'in', length });
const output = (length: number): Param => ({ kind: 'out', length });
const set = (names: Names, zero = '0'): Param => ({ kind: 'flags', names, zero });
const one = (names: Names): Param => ({ kind: 'value', names });
const returning = (result: ResultKind, ...params: Param[]): Signature => ({ params, result });
const plain = (...params: Param[]): Signature => returning('int', ...params);

const PROT = set(pick(/^PROT_/), 'PROT_NONE');
const MMAP = set(pick(/^MAP_(?!HUGE_(SHIFT|MASK)|FAILED)/));
const AT = set(pick(/^AT_(?!FDCWD)/));
const RLIMIT = one(pick(/^RLIMIT_/));
export const SIGNALS = pick(/^SIG/);
const SIGNAL = one(SIGNALS);

/** Operations that are not here take numbers and return one. */
const SIGNATURES: Readonly<Partial<Record<OpName, Signature>>> = {
  openat: returning('fd', DIRFD, PATH, set(OPEN_FLAGS, 'O_RDONLY'), OCTAL),
  close: plain(FD),
  read: plain(FD, output(2), UNSIGNED),
  write: plain(FD, input(2), UNSIGNED),
  pread: plain(FD, output(2), UNSIGNED, HEX),
  pwrite: plain(FD, input(2), UNSIGNED, HEX),
  ioctl: plain(FD, HEX, { kind: 'ioctl-argument' }),
  mmap: returning('address', ADDRESS, HEX, PROT, MMAP, FD, HEX),
  munmap: plain(ADDRESS, HEX),
  mprotect: plain(ADDRESS, HEX, PROT),
  mremap: returning('address', ADDRESS, HEX, HEX, set(pick(/^MREMAP_/)), ADDRESS),
  madvise: plain(ADDRESS, HEX, one(pick(/^MADV_/))),
  mlock: plain(ADDRESS, HEX),
  munlock: plain(ADDRESS, HEX),
  mlock2: plain(ADDRESS, HEX, HEX),
  mlockall: plain(set(pick(/^MCL_/))),
  munlockall: plain(),
  msync: plain(ADDRESS, HEX, HEX),
  mincore: plain(ADDRESS, HEX, ADDRESS),
  mseal: plain(ADDRESS, HEX, HEX),
  memfd_create: returning('fd', PATH, set(pick(/^MFD_/))),
  memfd_secret: returning('fd', HEX),
  ftruncate: plain(FD, HEX),
  fallocate: plain(FD, set(pick(/^FALLOC_/)), HEX, HEX),
  fcntl: plain(FD, one(pick(/^F_(?!SEAL)/)), INT),
  dup: returning('fd', FD),
  dup3: returning('fd', FD, FD, set({ O_CLOEXEC: libc.O_CLOEXEC })),
  eventfd2: returning('fd', UNSIGNED, set(pick(/^EFD_/))),
  timerfd_create: returning('fd', one(pick(/^CLOCK_/)), set(pick(/^TFD_(NON|CLO)/))),
  signalfd4: returning('fd', FD, ADDRESS, UNSIGNED, HEX),
  epoll_create1: returning('fd', set(pick(/^EPOLL_CLOEXEC/))),
  epoll_ctl: plain(FD, one(pick(/^EPOLL_CTL/)), FD, ADDRESS),
  epoll_pwait: plain(FD, ADDRESS, UNSIGNED, INT, ADDRESS, UNSIGNED),
  userfaultfd: returning('fd', set({ O_CLOEXEC: libc.O_CLOEXEC, O_NONBLOCK: libc.O_NONBLOCK })),
  ppoll: plain({ kind: 'array', element: pollfd, count: 1 }, UNSIGNED, TIMESPEC, ADDRESS, UNSIGNED),
  poll: plain({ kind: 'array', element: pollfd, count: 1 }, UNSIGNED, INT),
  nanosleep: plain(TIMESPEC, ADDRESS),
  getpid: returning('pid'),
  getppid: returning('pid'),
  gettid: returning('pid'),
  getuid: plain(),
  geteuid: plain(),
  kill: plain(PID, SIGNAL),
  tgkill: plain(PID, PID, SIGNAL),
  wait4: returning('pid', PID, { kind: 'status' }, set({ WNOHANG: libc.WNOHANG }), ADDRESS),
  prlimit64: plain(
    PID,
    RLIMIT,
    { kind: 'record', layout: rlimit },
    { kind: 'record', layout: rlimit },
  ),
  socketpair: plain(INT, INT, INT, { kind: 'fd-pair' }),
  pipe2: plain(
    { kind: 'fd-pair' },
    set({ O_CLOEXEC: libc.O_CLOEXEC, O_NONBLOCK: libc.O_NONBLOCK }),
  ),
  sendmsg: plain(FD, ADDRESS, HEX),
  recvmsg: plain(FD, ADDRESS, HEX),
  setresuid: plain(INT, INT, INT),
  setresgid: plain(INT, INT, INT),
  prctl: plain(one(pick(/^PR_/)), HEX, HEX, HEX, HEX),
  unlinkat: plain(DIRFD, PATH, AT),
  mkdirat: plain(DIRFD, PATH, OCTAL),
  symlinkat: plain(PATH, DIRFD, PATH),
  readlinkat: plain(DIRFD, PATH, output(3), UNSIGNED),
  fchmodat: plain(DIRFD, PATH, OCTAL),
  fchownat: plain(DIRFD, PATH, INT, INT, AT),
  faccessat: plain(DIRFD, PATH, OCTAL),
  getdents64: plain(FD, ADDRESS, UNSIGNED),
  fstat: plain(FD, ADDRESS),
  lseek: plain(FD, HEX, one(pick(/^SEEK_/))),
  fsync: plain(FD),
  readv: plain(FD, ADDRESS, UNSIGNED),
  writev: plain(FD, ADDRESS, UNSIGNED),
  preadv: plain(FD, ADDRESS, UNSIGNED, HEX),
  pwritev: plain(FD, ADDRESS, UNSIGNED, HEX),
  splice: plain(FD, ADDRESS, FD, ADDRESS, UNSIGNED, HEX),
  process_vm_readv: plain(PID, ADDRESS, UNSIGNED, ADDRESS, UNSIGNED, HEX),
  process_vm_writev: plain(PID, ADDRESS, UNSIGNED, ADDRESS, UNSIGNED, HEX),
  process_madvise: plain(FD, ADDRESS, UNSIGNED, INT, HEX),
  pidfd_open: returning('fd', PID, HEX),
  pidfd_getfd: returning('fd', FD, FD, HEX),
  pidfd_send_signal: plain(FD, SIGNAL, ADDRESS, HEX),
  execveat: plain(DIRFD, PATH, ADDRESS, ADDRESS, AT),
  exit_group: plain(INT),
  exit: plain(INT),
  close_range: plain(UNSIGNED, UNSIGNED, HEX),
  sched_yield: plain(),
  io_uring_setup: returning('fd', UNSIGNED, ADDRESS),
  io_uring_register: plain(FD, UNSIGNED, ADDRESS, UNSIGNED),
  mount: plain(PATH, PATH, PATH, HEX, ADDRESS),
  umount2: plain(PATH, HEX),
  setns: plain(FD, HEX),
  load: plain(WIDTH, ADDRESS),
  store: plain(WIDTH, ADDRESS, HEX),
  copy: plain(ADDRESS, ADDRESS, UNSIGNED),
  fill: plain(ADDRESS, HEX, HEX, UNSIGNED),
  verify: plain(ADDRESS, HEX, HEX, UNSIGNED),
  wait: plain(WIDTH, ADDRESS, HEX, HEX, UNSIGNED),
  repeat: plain(UNSIGNED, UNSIGNED),
  fork: returning('pid'),
  clock: returning('time'),
  spin: plain(UNSIGNED),
  yield: plain(),
  sample: plain(UNSIGNED, UNSIGNED, ADDRESS, UNSIGNED),
  align: returning('address', ADDRESS, HEX),
  ioctls: plain(FD, ADDRESS, UNSIGNED, ADDRESS, UNSIGNED, UNSIGNED),
};

const UNKNOWN: Signature = plain(HEX, HEX, HEX, HEX, HEX, HEX);

export function signatureOf(name: OpName): Signature {
  return SIGNATURES[name] ?? UNKNOWN;
}
