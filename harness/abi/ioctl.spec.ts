import { expect, test } from 'vitest';
import { Ioctl } from './ioctl.ts';
import * as iommufd from './iommufd.ts';
import {
  VFIO_CHECK_EXTENSION,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
} from './vfio.ts';
import * as vfio from './vfio.ts';

test('an ioctl is named in the coverage table by what it is, how it fails and what it takes', () => {
  expect(String(VFIO_IOMMU_MAP_DMA)).toBe('VFIO_IOMMU_MAP_DMA');
  expect(VFIO_IOMMU_MAP_DMA.fails('EEXIST')).toBe('VFIO_IOMMU_MAP_DMA:EEXIST');
  expect(VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_READ')).toBe(
    'VFIO_IOMMU_MAP_DMA:flag:VFIO_DMA_MAP_FLAG_READ',
  );
  expect(VFIO_CHECK_EXTENSION.value('VFIO_TYPE1_IOMMU')).toBe(
    'VFIO_CHECK_EXTENSION:value:VFIO_TYPE1_IOMMU',
  );
  expect(VFIO_IOMMU_GET_INFO.capability('VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL')).toBe(
    'VFIO_IOMMU_GET_INFO:capability:VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL',
  );
});

test('a name that the ioctl does not have is refused by the compiler and at run time', () => {
  // @ts-expect-error: a flag of another ioctl
  expect(() => VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_ALL')).toThrow(/has no flag/);
  // @ts-expect-error: a flag, not a feature
  expect(() => VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_GET')).toThrow(/has no value/);
});

test('the same number on different fds is a different ioctl, also for the compiler', () => {
  expect(VFIO_DEVICE_PCI_HOT_RESET.request).toBe(VFIO_IOMMU_MAP_DMA.request);
  const onContainer = (ioctl: Ioctl<'container'>) => ioctl.name;
  expect(onContainer(VFIO_IOMMU_MAP_DMA)).toBe('VFIO_IOMMU_MAP_DMA');
  // @ts-expect-error: belongs to a device
  expect(onContainer(VFIO_DEVICE_PCI_HOT_RESET)).toBe('VFIO_DEVICE_PCI_HOT_RESET');
});

test('no two ioctls of one kind of fd share a number, but for those that the IOMMU model tells apart', () => {
  const byNumber = new Map<string, string[]>();
  for (const item of [...Object.values(vfio), ...Object.values(iommufd)] as unknown[]) {
    if (!(item instanceof Ioctl)) continue;
    const key = `${item.fd} ${item.request}`;
    byNumber.set(key, [...(byNumber.get(key) ?? []), item.name]);
  }
  expect(
    [...byNumber.values()]
      .filter((names) => names.length > 1)
      .map((names) => names.sort())
      .sort(),
  ).toEqual([
    ['VFIO_IOMMU_DIRTY_PAGES', 'VFIO_IOMMU_SPAPR_REGISTER_MEMORY'],
    ['VFIO_IOMMU_GET_INFO', 'VFIO_IOMMU_SPAPR_TCE_GET_INFO'],
  ]);
});

test('every key appears once', () => {
  const keys = Object.values(vfio as Record<string, unknown>).flatMap((item) =>
    item instanceof Ioctl ? item.keys() : [],
  );
  expect(new Set(keys).size).toBe(keys.length);
  expect(keys).toContain('VFIO_DEVICE_SET_IRQS:flag:VFIO_IRQ_SET_DATA_EVENTFD');
});
