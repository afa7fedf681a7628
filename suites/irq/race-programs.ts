/** What the threads of a race do. */
import {
  Program,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  vfio_irq_set,
  type Arg,
  type InterruptDevice,
  type SetIrqs,
} from '../../harness/testing/index.ts';

/** How often each thread does its part. Calls may fail on the way: each is an operation of its own. */
const ROUNDS = 150;
export const ENABLE = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
export const DISABLE = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;

/** Adds one SET_IRQS to a program. @param device its fd, or the operation that opens it */
export function setIrqs(program: Program, device: Arg, irqs: SetIrqs): void {
  const data = irqs.data ?? Buffer.alloc(0);
  const { flags, index, start = 0, count } = irqs;
  const header = vfio_irq_set.encode({ argsz: 20 + data.length, flags, index, start, count });
  const call = program.data(Buffer.concat([header, data]));
  program.syscall('ioctl', device, VFIO_DEVICE_SET_IRQS.request, call);
}

/** A program that does `step` many times, whatever the answers. */
export function many(step: (program: Program, round: number) => void, rounds = ROUNDS): Program {
  const program = new Program({ ops: rounds * 4, arena: rounds * 256 });
  for (let round = 0; round < rounds; round++) step(program, round);
  return program;
}

/** The device interrupts by its first `vectors` vectors in turn, and is acknowledged each time. */
export const raising = (driver: InterruptDevice, vectors = 1) =>
  many((program, round) => {
    driver.raiseIn(program, round % vectors);
    program.spin(20_000);
    driver.acknowledgeIn(program);
  });
