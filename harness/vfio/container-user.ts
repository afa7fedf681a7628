import { Program, type Actor } from '../shim/index.ts';
import { MAP_ANONYMOUS, MAP_POPULATE, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../abi/libc.ts';
import { lockedMemory, type LockedMemory } from '../kernel/memory-accounting.ts';
import { VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA } from '../abi/vfio.ts';
import { Answer } from '../kernel/answer.ts';
import type { Container, MapDma, UnmapDma } from './container.ts';
import { addMapDma, addUnmapDma } from './dma-program.ts';
import { answerTo } from './ioctl.ts';

/** Another process that uses a container: under its own limits and rights, with its own memory. */
export class ContainerUser {
  readonly actor: Actor;
  readonly #fd: number;

  /** @param actor inherits the container's fd, or has received it under this number. */
  constructor(actor: Actor, container: Pick<Container, 'fd'>) {
    this.actor = actor;
    this.#fd = container.fd;
  }

  /** Populated anonymous memory of the process: its address there. */
  memory(size: number): bigint {
    const program = new Program();
    const address = program.syscall(
      'mmap',
      0,
      size,
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
      -1,
      0,
    );
    this.actor.run(program);
    new Answer('mmap', Math.min(program.result(address), 0), undefined).must();
    return program.address(address);
  }

  tryMapDma(map: MapDma): Answer {
    const program = new Program();
    const ref = addMapDma(program, this.#fd, map);
    this.actor.run(program);
    return answerTo(VFIO_IOMMU_MAP_DMA, program.result(ref));
  }

  mapDma(map: MapDma): void {
    this.tryMapDma(map).must();
  }

  /** The value is `size` as the kernel left it. */
  tryUnmapDma(unmap: UnmapDma): Answer<bigint> {
    const program = new Program();
    const { ref, size } = addUnmapDma(program, this.#fd, unmap);
    this.actor.run(program);
    return answerTo(VFIO_IOMMU_UNMAP_DMA, program.result(ref)).with(size());
  }

  /** Bytes unmapped. */
  unmapDma(unmap: UnmapDma): bigint {
    return this.tryUnmapDma(unmap).get();
  }

  /** Locked memory of the process, in KiB. */
  locked(): LockedMemory {
    return lockedMemory(this.actor.pid);
  }
}
