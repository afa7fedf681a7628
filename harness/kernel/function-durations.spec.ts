import { expect, it } from 'vitest';
import { callsOf } from './function-durations.ts';

it('reads calls, those within others, and long ones that are marked', () => {
  const trace = [
    '# tracer: function_graph',
    '# CPU  DURATION                  FUNCTION CALLS',
    '# |     |   |                     |   |   |   |',
    ' 1)   1.331 us    |  intel_iommu_tlb_sync();',
    ' 1)               |  iommu_map() {',
    ' 1) + 12.310 us   |    intel_iommu_iotlb_sync_map();',
    ' 1) # 1400.167 us |  }',
    ' 1)   0.844 us    |  __x64_sys_getppid();',
  ].join('\n');
  expect(callsOf(trace)).toEqual([
    { name: 'intel_iommu_tlb_sync', ns: 1331 },
    { name: 'intel_iommu_iotlb_sync_map', ns: 12_310 },
    { name: 'iommu_map', ns: expect.closeTo(1_400_167) as number },
    { name: '__x64_sys_getppid', ns: 844 },
  ]);
});
