/** What each system call does to the file descriptors and mappings of its process. */
import type { Ioctl } from '../abi/ioctl.ts';
import { F_DUPFD, F_DUPFD_CLOEXEC, MAP_ANONYMOUS, MREMAP_DONTUNMAP } from '../abi/libc.ts';
import {
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_PCI_CONFIG_REGION_INDEX,
} from '../abi/vfio.ts';
import type { OpName } from '../shim/index.ts';
import { signed, stringAt, valueOf, type Call } from './call.ts';
import { splitPosition } from './device-position.ts';
import { meaningOffsets } from './meaning-offsets.ts';
import type { OpenFd, Origin, ProcessState } from './process-state.ts';
import { signatureOf } from './signature.ts';

type Effect = (call: Call, state: ProcessState) => void;

/** Takes over what a call that succeeded did to its process. */
export function applyEffect(call: Call, state: ProcessState): void {
  (EFFECTS[call.op.name] ?? openOther)(call, state);
}

/** The origin of what a call returns. */
export function resultOrigin(call: Call): Origin {
  return { kind: 'result', run: call.run, index: call.index };
}

const EFFECTS: Partial<Record<OpName, Effect>> = {
  mmap(call, state) {
    const isAnonymous = (Number(valueOf(call, 3)) & MAP_ANONYMOUS) !== 0;
    const file = isAnonymous ? undefined : state.fds.get(signed(valueOf(call, 4)));
    state.map({
      start: BigInt.asUintN(64, call.op.result),
      length: valueOf(call, 1),
      origin: resultOrigin(call),
      file,
      offset: file ? valueOf(call, 5) : 0n,
    });
  },
  mremap(call, state) {
    const from = valueOf(call, 0);
    const old = state.mapping(from);
    if ((Number(valueOf(call, 3)) & MREMAP_DONTUNMAP) === 0) state.unmap(from, valueOf(call, 1));
    state.map({
      start: BigInt.asUintN(64, call.op.result),
      length: valueOf(call, 2),
      origin: resultOrigin(call),
      file: old?.file,
      offset: old ? old.offset + from - old.start : 0n,
    });
  },
  munmap(call, state) {
    state.unmap(valueOf(call, 0), valueOf(call, 1));
  },
  close_range(call, state) {
    for (const number of state.fds.keys())
      if (BigInt(number) >= valueOf(call, 0) && BigInt(number) <= valueOf(call, 1))
        state.close(number);
  },
  dup: duplicate,
  dup3: duplicate,
  fcntl(call, state) {
    if ([F_DUPFD, F_DUPFD_CLOEXEC].includes(Number(valueOf(call, 1)))) duplicate(call, state);
  },
  openat(call, state) {
    const path =
      call.op.args[1]?.kind === 'arena' ? stringAt(call.before, call.op.args[1].offset) : '?';
    open(call, state, kindOfPath(path), path);
  },
  eventfd2(call, state) {
    open(call, state, 'eventfd', 'eventfd');
  },
  pipe2(call, state) {
    openPair(call, 0, state, 'pipe');
  },
  socketpair(call, state) {
    openPair(call, 3, state, 'socket');
  },
  ioctl(call, state) {
    const ioctl = state.ioctlOf(call);
    if (!ioctl) return;
    if (ioctl.name === 'VFIO_SET_IOMMU') chooseModel(call, state);
    if (ioctl.returns) open(call, state, ioctl.returns, labelOfNew(call, ioctl));
    openWritten(call, ioctl, state);
    if (ioctl.name === 'VFIO_DEVICE_FEATURE' && getsDmaBuf(call))
      open(call, state, 'dmabuf', 'dmabuf');
  },
  pread: learnConfig,
};

/** All that is not in the table and yet returns an fd. */
function openOther(call: Call, state: ProcessState): void {
  if (signatureOf(call.op.name).result === 'fd') open(call, state, 'other', labelOf(call));
}

function open(call: Call, state: ProcessState, kind: OpenFd['kind'], label: string): void {
  state.fds.set(Number(call.op.result), { kind, label, origin: resultOrigin(call) });
}

/** The fd that the kernel wrote to an offset of the arena. */
function openAt(
  call: Call,
  offset: number,
  state: ProcessState,
  kind: OpenFd['kind'],
  label: string,
): void {
  const origin: Origin = { kind: 'arena', run: call.run, offset };
  state.fds.set(call.after.readInt32LE(offset), { kind, label, origin });
}

function openPair(call: Call, argument: number, state: ProcessState, label: string): void {
  const pair = call.op.args[argument];
  if (pair?.kind !== 'arena') return;
  openAt(call, pair.offset, state, 'other', label);
  openAt(call, pair.offset + 4, state, 'other', label);
}

function duplicate(call: Call, state: ProcessState): void {
  state.duplicate(signed(valueOf(call, 0)), Number(call.op.result), resultOrigin(call));
}

function chooseModel(call: Call, state: ProcessState): void {
  const number = signed(valueOf(call, 0));
  const container = state.fds.get(number);
  if (container) state.fds.set(number, { ...container, model: Number(valueOf(call, 2)) });
}

/** New fds that the kernel left in the argument: of a migration stream, of a device of KVM. */
function openWritten(call: Call, ioctl: Ioctl, state: ProcessState): void {
  const argument = call.op.args[2];
  if (argument?.kind !== 'arena' || !ioctl.struct) return;
  for (const field of meaningOffsets(ioctl.struct, call.after.subarray(argument.offset), 'fd')) {
    const offset = argument.offset + field;
    const after = call.after.readInt32LE(offset);
    if (after < 0 || after === call.before.readInt32LE(offset)) continue;
    const kind = ioctl.fd === 'kvm-vm' ? 'kvm-device' : 'migration';
    openAt(call, offset, state, kind, kind);
  }
}

/** Does this VFIO_DEVICE_FEATURE return a dma-buf? */
function getsDmaBuf(call: Call): boolean {
  const argument = call.op.args[2];
  if (argument?.kind !== 'arena') return false;
  const flags = call.before.readUInt32LE(argument.offset + 4);
  return (
    (flags & VFIO_DEVICE_FEATURE_MASK) === VFIO_DEVICE_FEATURE_DMA_BUF &&
    (flags & VFIO_DEVICE_FEATURE_GET) !== 0 &&
    (flags & VFIO_DEVICE_FEATURE_PROBE) === 0
  );
}

function learnConfig(call: Call, state: ProcessState): void {
  const device = state.fds.get(signed(valueOf(call, 0)));
  const buffer = call.op.args[1];
  const { region, offset } = splitPosition(valueOf(call, 3));
  if (device?.kind !== 'device' || region !== VFIO_PCI_CONFIG_REGION_INDEX) return;
  if (buffer?.kind !== 'arena') return;
  device.config ??= new Map();
  for (let i = 0; i < Number(call.op.result); i++)
    device.config.set(offset + i, call.after[buffer.offset + i] ?? 0);
}

function kindOfPath(path: string): OpenFd['kind'] {
  if (path === '/dev/vfio/vfio') return 'container';
  if (/^\/dev\/vfio\/(noiommu-)?\d+$/.test(path)) return 'group';
  if (/^\/dev\/vfio\/devices\/vfio\d+$/.test(path)) return 'device';
  if (path === '/dev/iommu') return 'iommufd';
  if (path === '/dev/kvm') return 'kvm';
  return 'file';
}

function labelOf(call: Call): string {
  const first = call.op.args[0];
  if (call.op.name === 'memfd_create' && first?.kind === 'arena')
    return `memfd:${stringAt(call.before, first.offset)}`;
  return call.op.name.replace(/(_create1?|_open|_getfd|4)$/, '');
}

function labelOfNew(call: Call, ioctl: Ioctl): string {
  const argument = call.op.args[2];
  if (ioctl.argument === 'string' && argument?.kind === 'arena')
    return stringAt(call.before, argument.offset);
  return String(ioctl.returns);
}
