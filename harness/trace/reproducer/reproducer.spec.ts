import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { O_CLOEXEC, O_RDONLY, O_RDWR, POLLIN } from '../../abi/libc.ts';
import {
  VFIO_DEVICE_SET_IRQS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_EVENTFD,
  vfio_iommu_type1_dma_map,
  vfio_irq_set,
} from '../../abi/vfio.ts';
import {
  Actor,
  DmaMemory,
  Program,
  recorder,
  runParallel,
  sys,
  type RecordedRun,
} from '../../shim/index.ts';
import { renderReproducer } from './reproducer.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'reproducer-'));
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => recorder.begin());

/** Compiles as its users would (and with optimization, which warns more) and runs it. */
function reproduce(source: string): { status: number | null; output: string } {
  const file = join(folder, 'reproducer.c');
  const program = join(folder, 'reproducer');
  writeFileSync(file, source);
  for (const level of ['-O0', '-O2'])
    execFileSync('gcc', [
      '-std=gnu11',
      level,
      '-Wall',
      '-Wextra',
      '-Werror',
      '-pthread',
      '-o',
      program,
      file,
    ]);
  const { status, stdout } = spawnSync(program, { encoding: 'utf8', timeout: 20_000 });
  return { status, output: stdout };
}

describe('a program made of recorded calls', () => {
  test('nothing recorded', () => {
    expect(reproduce(renderReproducer(recorder.take())).status).toBe(1);
  });

  test('opens, maps, reads and answers as recorded', () => {
    const fd = sys.open('/etc/passwd', O_RDONLY | O_CLOEXEC);
    const event = sys.eventfd(7, 0);
    const memory = DmaMemory.allocate({ size: 8192 });
    memory.write(16, Buffer.from([1, 2, 255]));
    sys.read(event, Buffer.alloc(8));
    sys.poll([{ fd: event, events: POLLIN }], 0);
    sys.load(32, memory.address + 16n);
    sys.load(64, 8);
    sys.pread(fd, Buffer.alloc(16), 4);
    const source = renderReproducer(recorder.take(), { title: 'reading */ files' });
    memory.free();
    expect(source).toContain('reading * / files');
    // The fd and the address come from the calls that returned them.
    expect(source).toMatch(/SYS_pread64, s->r\[0\], P\(/);
    expect(source).toMatch(/load\(s->r\[\d+\] \+ 0x10, 32/);
    const { status, output } = reproduce(source);
    expect(output).not.toContain('recorded:  ');
    expect(output).toContain('it still happens');
    expect(status).toBe(0);
  });

  test('another answer of the last call is told', () => {
    sys.open('/nonexistent', O_RDONLY);
    const runs = recorder.take();
    const last = runs[0] as RecordedRun;
    last.block.writeBigInt64LE(-13n, 64 + 56);
    const { status, output } = reproduce(renderReproducer(runs));
    expect(status).toBe(1);
    expect(output).toContain('= -2 (No such file or directory), recorded: -13 (Permission denied)');
  });

  test('other bytes of the last call are told', () => {
    const fd = sys.open('/dev/zero', O_RDONLY);
    sys.read(fd, Buffer.alloc(4));
    const runs = recorder.take();
    const { block } = runs[1] as RecordedRun;
    block[block.readUInt32LE(8) + 2] = 9;
    const { status, output } = reproduce(renderReproducer(runs));
    expect(output).toContain('byte 2 is 0, recorded: 0x9');
    expect(status).toBe(1);
  });

  test('what comes after the failure is repeated, but does not decide', () => {
    const fd = sys.open('/dev/null', O_RDWR);
    sys.ioctl(fd, VFIO_IOMMU_MAP_DMA.request, vfio_iommu_type1_dma_map.encode());
    const failedAt = process.hrtime.bigint();
    sys.close(fd);
    const runs = recorder.take();
    (runs[2] as RecordedRun).block.writeBigInt64LE(-5n, 64 + 56);
    expect(reproduce(renderReproducer(runs)).status).toBe(1);
    expect(reproduce(renderReproducer(runs, { failedAt })).status).toBe(0);
  });

  test('a number is taken from the call that opened it last, and a closed one stays closed', () => {
    const first = sys.open('/dev/zero', O_RDONLY);
    sys.close(first);
    const second = sys.open('/dev/null', O_RDONLY);
    expect(second).toBe(first);
    sys.read(second, Buffer.alloc(4));
    sys.close(second);
    sys.read(second, Buffer.alloc(4));
    const source = renderReproducer(recorder.take());
    expect(source).toMatch(/call\(3, SYS_read, s->r\[2\]/);
    expect(source).toMatch(/call\(5, SYS_read, s->r\[2\]/);
    expect(reproduce(source).status).toBe(0);
  });

  test('addresses and fds inside of structs are replaced too', () => {
    const fd = sys.open('/dev/null', O_RDWR);
    const event = sys.eventfd(0, 0);
    const memory = DmaMemory.allocate({ size: 4096 });
    const int = Buffer.alloc(4);
    int.writeInt32LE(fd);
    sys.ioctl(fd, VFIO_GROUP_SET_CONTAINER.request, int);
    sys.ioctl(
      fd,
      VFIO_DEVICE_SET_IRQS.request,
      Buffer.concat([
        vfio_irq_set
          .encode({ flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, count: 2 }, 28)
          .subarray(0, 20),
        int,
        Buffer.from(Int32Array.of(event).buffer),
      ]),
    );
    sys.ioctl(
      fd,
      VFIO_IOMMU_MAP_DMA.request,
      vfio_iommu_type1_dma_map.encode({ vaddr: memory.address + 64n, size: 64n }),
    );
    const source = renderReproducer(recorder.take());
    memory.free();
    expect(source).toMatch(/put\(s->a\d+ \+ 0x0, s->r\[0\], 4\); \/\* fd \*\//);
    expect(source).toMatch(/put\(s->a\d+ \+ 0x18, s->r\[1\], 4\); \/\* data\[1\]/);
    expect(source).toMatch(/put\(s->a\d+ \+ 0x8, s->r\[\d+\] \+ 0x40, 8\); \/\* vaddr/);
    expect(reproduce(source).status).toBe(0);
  });

  test('fds that the kernel left in memory', () => {
    const pair = Buffer.alloc(8);
    const program = new Program();
    const data = program.data(8);
    program.syscall('pipe2', data, 0);
    program.run();
    data.bytes.copy(pair);
    sys.write(pair.readInt32LE(4), Buffer.from('ab'));
    sys.read(pair.readInt32LE(0), Buffer.alloc(2));
    const source = renderReproducer(recorder.take());
    expect(source).toContain('fd_at(s->a0 + 0x4)');
    expect(reproduce(source).status).toBe(0);
  });

  test('stops, loops and children', () => {
    const program = new Program();
    const event = program.syscall('eventfd2', 5, 1 /* EFD_SEMAPHORE */);
    const data = program.data(8);
    const read = program.syscall('read', event, data, 8);
    program.repeat(read, 4);
    program.fork(() => {
      program.syscall('write', event, program.data(Buffer.from([9, 0, 0, 0, 0, 0, 0, 0])), 8);
    });
    program.syscall('wait4', -1, 0, 0, 0);
    program.stopOnError();
    program.syscall('openat', -100, program.data('/nonexistent'), 0);
    program.syscall('getpid');
    program.run();
    const { status, output } = reproduce(renderReproducer(recorder.take()));
    expect(output).not.toContain('recorded: ');
    expect(output).not.toContain('getpid');
    expect(status).toBe(0);
  });

  test('loops within loops, and in a child', () => {
    const program = new Program();
    const event = program.syscall('eventfd2', 0, 0);
    const one = program.data(Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));
    const first = program.syscall('write', event, one, 8);
    program.repeat(first, 3);
    program.repeat(first, 2);
    program.fork(() => {
      const write = program.syscall('write', event, one, 8);
      program.repeat(write, 5);
    });
    program.syscall('wait4', -1, 0, 0, 0);
    const sum = program.data(8);
    program.syscall('read', event, sum, 8);
    program.run();
    expect(sum.bytes.readUInt32LE()).toBe(11);
    const source = renderReproducer(recorder.take());
    expect(source).not.toContain('not repeated');
    // The last call read the sum of all writes: the same number of passes were made.
    expect(reproduce(source).status).toBe(0);
  });

  test('stores, copies, patterns and waits', () => {
    const memory = DmaMemory.allocate({ size: 4096 });
    memory.fill(42, 0, 100);
    memory.verify(42, 0, 100);
    memory.verify(43, 0, 100);
    sys.store(16, memory.address + 2n, 0xbeef);
    const program = new Program();
    const data = program.data(Buffer.from([1, 2, 3, 4]));
    program.copy(memory.address, data, 4);
    program.wait(32, memory.address, 0xff, 1, 1000);
    program.wait(32, memory.address, 0xff, 2, 1000);
    program.store(32, data.at(0), 0x01010101);
    program.align(memory.address + 1n, 4096);
    program.spin(10);
    program.clock();
    program.yield();
    program.run();
    const { status, output } = reproduce(renderReproducer(recorder.take()));
    expect(output).not.toContain('recorded: -');
    expect(status).toBe(0);
  });

  test('threads begin together', () => {
    const event = sys.eventfd(0, 0);
    const programs = [1, 2].map((value) => {
      const program = new Program();
      const bytes = Buffer.alloc(8);
      bytes[0] = value;
      program.syscall('write', event, program.data(bytes), 8);
      return program;
    });
    runParallel(programs);
    sys.read(event, Buffer.alloc(8));
    const source = renderReproducer(recorder.take());
    expect(source).toContain('run_threads((void *(*const[])(void *)){ run_1, run_2 }, 2);');
    const { status, output } = reproduce(source);
    expect(output).not.toContain('recorded: ');
    expect(status).toBe(0);
  });

  test('another process has its own fds, and works beside us', () => {
    const event = sys.eventfd(0, 0);
    const other = sys.eventfd(0, 0);
    const actor = Actor.spawn({ inheritFds: [event] });
    const reader = new Program();
    const data = reader.data(8);
    reader.syscall('read', event, data, 8);
    reader.syscall('read', other, data, 8);
    const zero = reader.syscall('openat', -100, reader.data('/dev/zero'), 0);
    reader.syscall('read', zero, reader.data(8), 8);
    actor.start(reader);
    sys.write(event, Buffer.from([3, 0, 0, 0, 0, 0, 0, 0]));
    actor.join();
    actor.close();
    sys.close(event);
    const runs = recorder.take();
    expect(runs.map(({ where }) => where.split(' ')[0])).toContain('process');
    const source = renderReproducer(runs);
    expect(source).toMatch(/made by this program executed anew/);
    const { status, output } = reproduce(source);
    expect(output).toContain('it still happens');
    expect(status).toBe(0);
  });

  test('memory that is gone is still named after its mapping', () => {
    const memory = DmaMemory.allocate({ size: 4096 });
    memory.free();
    sys.load(8, memory.address + 8n);
    const source = renderReproducer(recorder.take());
    expect(source).toMatch(/load\(s->r\[\d+\] \+ 0x8, 8/);
    expect(reproduce(source).status).toBe(0);
  });
});
