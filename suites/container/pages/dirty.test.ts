import {
  MAP_FIXED,
  MAP_SHARED,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PAGE_FLAGS,
  PROT_READ,
  PROT_WRITE,
  Program,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  enableDevice,
  expect,
  isDirtyPage,
  pageFrame,
  reserveAddresses,
  sys,
  test,
  type DmaMemory,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const IOVA = 0x100000n;
const PUT = 'drivers/vfio/vfio_iommu_type1.c put_pfn()';
const PUT_RANGE = 'drivers/vfio/vfio_iommu_type1.c put_valid_unreserved_pfns()';
const options = {
  covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA],
  source: PUT_RANGE,
  needs: [PAGE_FLAGS],
};

const framesOf = (ram: DmaMemory) =>
  Array.from({ length: ram.size / PAGE }, (_, page) => pageFrame(ram.address + BigInt(page) * P));

for (const { name, flags, words } of [
  { name: 'read-write', flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, words: 'write' },
  { name: 'write-only', flags: VFIO_DMA_MAP_FLAG_WRITE, words: 'write' },
  { name: 'read-only', flags: VFIO_DMA_MAP_FLAG_READ, words: 'only read' },
]) {
  test(
    `container.page-dirty.${name}`,
    `the kernel takes pages that a device could ${words} as ${words === 'write' ? 'changed' : 'unchanged'} when they are unmapped`,
    options,
    ({ container, memory }) => {
      const ram = memory({ size: 20 * PAGE, kind: '4k' });
      const frames = framesOf(ram);
      const dirty = () => frames.map(isDirtyPage);
      const clean = frames.map(() => false);
      // What the process wrote is noted in its page tables, not yet with the page.
      expect(dirty()).toEqual(clean);
      const size = BigInt(ram.size);
      container.mapDma({ iova: IOVA, vaddr: ram.address, size, flags });
      expect(dirty()).toEqual(clean);
      expect(container.unmapDma({ iova: IOVA, size })).toBe(size);
      expect(dirty()).toEqual(frames.map(() => words === 'write'));
    },
  );
}

for (const { id, title, flags, kernels } of [
  {
    id: 'container.page-dirty.beside-device-memory',
    title:
      'memory that was mapped together with device memory is taken as changed too when it is unmapped',
    flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
    kernels: {},
  },
  {
    id: 'container.page-dirty.read-only-beside-device-memory',
    title: 'memory that was mapped read-only together with device memory is taken as unchanged',
    flags: VFIO_DMA_MAP_FLAG_READ,
    kernels: { since: '7.3' },
  },
]) {
  test(
    id,
    title,
    { ...options, source: PUT, device: 'edu', uses: ['ivshmem'], ...kernels },
    (context) => {
      const { container, defer, memory } = context;
      const { device } = context.openRole('ivshmem');
      enableDevice(device);
      const area = reserveAddresses(3n * P, P);
      defer(() => area.release());
      const prot = PROT_READ | PROT_WRITE;
      const { offset } = device.region(2).info;
      const ram = memory({ size: 2 * PAGE, kind: '4k' });
      const { address } = area;
      const shared = MAP_SHARED | MAP_FIXED;
      expect(sys.mmap(address, PAGE, prot, shared, device.fd, offset)).toBe(address);
      // The memory moves behind the device memory.
      const behind = address + P;
      const frames = framesOf(ram);
      const move = new Program();
      const moved = move.syscall(
        'mremap',
        ram.address,
        ram.size,
        ram.size,
        MREMAP_MAYMOVE | MREMAP_FIXED,
        behind,
      );
      expect(move.run().address(moved)).toBe(behind);
      container.mapDma({ iova: IOVA, vaddr: address, size: 3n * P, flags });
      expect(frames.map(isDirtyPage)).toEqual([false, false]);
      expect(container.unmapDma({ iova: IOVA, size: 3n * P })).toBe(3n * P);
      const isWritable = (flags & VFIO_DMA_MAP_FLAG_WRITE) !== 0;
      expect(frames.map(isDirtyPage)).toEqual([isWritable, isWritable]);
    },
  );
}
