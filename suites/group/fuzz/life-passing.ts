import {
  MSG_CMSG_CLOEXEC,
  MSG_DONTWAIT,
  SCM_RIGHTS,
  SOL_SOCKET,
  type Batch,
  type Data,
  type Kind,
  type Ref,
} from '../../../harness/testing/index.ts';
import type { LifeModel } from './life-model.ts';
import { isFull, loaded, pick, type Held, type LifeRun } from './life-stage.ts';

const WHICH = 8;
/** Files on their way at once. */
const MOST_PASSED = 6;
/** struct msghdr of <sys/socket.h>, with 64-bit pointers. */
const MSGHDR = { size: 56, iov: 16, iovlen: 24, control: 32, controllen: 40 };
/** struct cmsghdr with one number of a file, padded. */
const CMSG = { size: 24, length: 20, level: 8, type: 12, fd: 16 };
const NOBODY = 0xffff_ffff;

/** A message of one byte, with room for a descriptor beside it; both ends look at it in the same way. */
function message({ program }: Batch): { header: Data; control: Data } {
  const iovec = program.data(16);
  program.store(64, iovec, program.data('.'));
  iovec.setU64(8, 1);
  const control = program.data(CMSG.size);
  control.setU64(0, CMSG.length);
  control.setU32(CMSG.level, SOL_SOCKET);
  control.setU32(CMSG.type, SCM_RIGHTS);
  control.setU32(CMSG.fd, NOBODY);
  const header = program.data(MSGHDR.size);
  program.store(64, header.at(MSGHDR.iov), iovec);
  header.setU64(MSGHDR.iovlen, 1);
  program.store(64, header.at(MSGHDR.control), control);
  header.setU64(MSGHDR.controllen, CMSG.size);
  return { header, control };
}

/** Sends a file away, which keeps it open. */
function send<State>(
  run: LifeRun,
  held: Held<State>[],
  which: number,
  grab: (state: State) => void,
  drop: (state: State) => void,
): void {
  const { batch, passed, sockets } = run;
  const one = pick(held, which);
  if (!one || passed.length >= MOST_PASSED) return;
  const { header, control } = message(batch);
  batch.program.store(32, control.at(CMSG.fd), one.descriptor.ref);
  const { ref } = sockets[0];
  batch.expectResult(batch.program.syscall('sendmsg', ref, header, MSG_DONTWAIT), 1);
  const { state } = one;
  grab(state);
  passed.push({
    isUnwanted: () => isFull(held),
    hold: (descriptor) => held.push({ descriptor, state }),
    drop: () => drop(state),
  });
}

function addReceive({ batch, sockets }: LifeRun): Data {
  const { header, control } = message(batch);
  const flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
  const ref: Ref = batch.program.syscall('recvmsg', sockets[1].ref, header, flags);
  batch.expectResult(ref, 1);
  return control;
}

const closeGroup = (model: LifeModel) => model.closeGroup.bind(model);
const closeDevice = (model: LifeModel) => model.closeDevice.bind(model);

/** Files that go from one process to another, or away and back. */
export const PASSING: Readonly<Record<string, Kind<LifeRun>>> = {
  'send-container': {
    weight: 1,
    fields: { which: WHICH },
    issue: (run, which = 0) =>
      send(
        run,
        run.containers,
        which,
        () => {},
        () => {},
      ),
  },
  'send-group': {
    weight: 2,
    fields: { which: WHICH },
    issue: (run, which = 0) =>
      send(run, run.groups, which, (group) => void group.fds++, closeGroup(run.model)),
  },
  'send-device': {
    weight: 2,
    fields: { which: WHICH },
    issue: (run, which = 0) =>
      send(run, run.devices, which, (device) => void device.fds++, closeDevice(run.model)),
  },
  receive: {
    weight: 3,
    fields: {},
    issue(run) {
      const [first] = run.passed;
      if (!first || first.isUnwanted()) return;
      run.passed.shift();
      const descriptor = loaded(run.batch, addReceive(run), CMSG.fd);
      run.open.add(descriptor);
      first.hold(descriptor);
    },
  },
  'receive-in-child': {
    weight: 1,
    fields: {},
    issue(run) {
      const first = run.passed.shift();
      if (!first) return;
      const { batch } = run;
      const pid = batch.program.fork(() => void addReceive(run));
      const waited = batch.program.syscall('wait4', pid, 0, 0, 0);
      batch.expectDescriptor(waited);
      first.drop();
    },
  },
};
