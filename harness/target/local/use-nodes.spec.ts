import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { vfioNodes } from './use-nodes.ts';

let device: string;
beforeEach(() => (device = mkdtempSync(join(tmpdir(), 'nodes-'))));
afterEach(() => rmSync(device, { recursive: true }));

it('VFIO gives a function to programs by the node of its group and by one of its own', () => {
  symlinkSync('../../kernel/iommu_groups/7', join(device, 'iommu_group'));
  mkdirSync(join(device, 'vfio-dev/vfio3'), { recursive: true });
  expect(vfioNodes(device)).toEqual(['/dev/vfio/7', '/dev/vfio/devices/vfio3']);
});

it('VFIO gives nobody a function without a group', () => expect(vfioNodes(device)).toEqual([]));
