import { describe, expect, it } from 'vitest';
import { kernelShift, vfioFunctions } from './vfio-symbols.ts';

/** As `/proc/kallsyms` of a kernel with VFIO built in, and of one with modules. */
const BUILT_IN = `ffffffff9f000000 T _text
ffffffff9f000100 T schedule
ffffffff9f000200 t __pfx_vfio_unmap_unpin
ffffffff9f000210 t vfio_unmap_unpin
ffffffff9f000300 t put_pfn
ffffffff9f000340 T vfio_device_put
ffffffff9f000380 d vfio_data
ffffffff9f000400 T printk
`;
const MODULE = `ffffffffc0100000 t put_pfn\t[vfio_iommu_type1]
ffffffffc0100040 t map_one\t[vfio_iommu_type1]
ffffffffc0100080 t other\t[nvme]
`;

describe('the functions of VFIO', () => {
  const named = (text: string) =>
    vfioFunctions(text).map(({ name, start, end }) => [name, Number(end - start)]);

  it('are those with its name, and what lies between them', () => {
    expect(named(BUILT_IN)).toEqual([
      ['vfio_unmap_unpin', 0xf0],
      ['put_pfn', 0x40],
      ['vfio_device_put', 0xc0],
    ]);
  });

  it('are all of its modules', () => {
    expect(named(BUILT_IN + MODULE).slice(3)).toEqual([
      ['put_pfn', 0x40],
      ['map_one', 0x40],
    ]);
  });
});

it.runIf(process.arch === 'x64')('knows by how much the kernel lies elsewhere', () => {
  expect(kernelShift(BUILT_IN)).toBe(0x1e00_0000n);
  expect(kernelShift(MODULE)).toBe(0n);
});
