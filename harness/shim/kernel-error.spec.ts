import { expect, test } from 'vitest';
import { KernelError } from './kernel-error.ts';

test('an error of the kernel tells what was tried and why it failed', () => {
  const error = new KernelError(-17, 'VFIO_IOMMU_MAP_DMA');
  expect(error.errno).toBe(17);
  expect(error.errnoName).toBe('EEXIST');
  expect(error.message).toBe('VFIO_IOMMU_MAP_DMA: EEXIST (File exists)');
});
