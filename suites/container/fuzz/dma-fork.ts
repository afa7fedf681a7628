import { kernelAtLeast } from '../../../harness/testing/index.ts';
import { PAGE, addMap, addUnmap, mapCall, unmapCall } from './dma-calls.ts';
import { WINDOW, type Range } from './dma-model.ts';
import type { DmaRun } from './dma-stage.ts';

/** Since then a mapping knows whose memory it locks (vfio_dma::mm); before, accounts depend on who is alive. */
const KNOWS_OWNER = kernelAtLeast('6.4');

/** What a child does, whose parent waits for its end. */
const BODIES: readonly ((run: DmaRun, range: Range) => void)[] = [
  // It ends at once: what is pinned for its parent stays, and so does what is accounted to that.
  () => {},
  // It takes its memory apart, which is not its parent's.
  ({ batch, stage }) => stage.addNoMemory(batch),
  // It unmaps what its parent has mapped: a container belongs to whoever holds it.
  ({ batch, model, stage }, range) =>
    addUnmap(
      batch,
      stage.container.fd,
      unmapCall(stage.iova(range.at), range.pages * PAGE),
      model.unmap(range),
    ),
  // It maps memory that both share, which is locked in its own name.
  ({ batch, model, stage }, range) => {
    if (!KNOWS_OWNER) return;
    const at = Math.max(0, range.at);
    const pages = Math.min(range.pages, WINDOW - at);
    const call = mapCall(stage.iova(at), stage.vaddr(at), pages * PAGE);
    const result = model.map({ at, pages, from: at, read: true, write: true }, false);
    batch.expectResult(addMap(batch, stage.container.fd, call), result);
  },
];

/** Kinds of children. */
export const CHILDREN = BODIES.length;

/** Adds a fork behind the kernel's back; the program goes on when the child is gone. */
export function addChild(run: DmaRun, child: number, range: Range): void {
  const { batch } = run;
  const { program } = batch;
  const pid = program.fork(() => BODIES[child]!(run, range));
  const status = program.data(4);
  const waited = program.syscall('wait4', pid, status, 0, 0);
  batch.check(() => {
    const observed = program.result(waited);
    const exit = status.bytes.readInt32LE();
    if (observed === program.result(pid) && observed > 0 && exit === 0) return null;
    const expected = `child ${program.result(pid)} exits with 0`;
    return { what: 'wait4', expected, observed: `${observed}, status ${exit}` };
  });
}
