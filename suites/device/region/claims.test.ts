import { readFileSync } from 'node:fs';
import {
  OWN_MACHINE,
  VFIO_REGION_INFO_FLAG_MMAP,
  expect,
  test,
  type PciFunction,
} from '../../../harness/testing/index.ts';

const CORE = 'drivers/vfio/pci/vfio_pci_core.c';
const BARS = [0, 1, 2, 3, 4, 5];
const PAGE = 4096n;

/** An address range in /proc/iomem or /proc/ioports. */
interface Claim {
  start: bigint;
  end: bigint;
}

/** The ranges with this name, I/O ports and memory. */
function claims(name: string): Claim[] {
  return ['iomem', 'ioports']
    .flatMap((file) => readFileSync(`/proc/${file}`, 'utf8').split('\n'))
    .map((line) => /^ *([0-9a-f]+)-([0-9a-f]+) : (.*)$/.exec(line))
    .filter((match) => match?.[3] === name)
    .map((match) => ({ start: BigInt(`0x${match![1]}`), end: BigInt(`0x${match![2]}`) }));
}

/** The BARs that the function has. */
function bars(pci: PciFunction): Claim[] {
  return pci
    .resources()
    .slice(0, 6)
    .filter(({ size }) => size > 0n)
    .map(({ start, end }) => ({ start, end }));
}

const inOrder = (ranges: readonly Claim[]) => [...ranges].sort((a, b) => Number(a.start - b.start));

test(
  'device.region.claimed',
  'what a device decodes is claimed by VFIO as long as the device is open and in use',
  {
    source: `${CORE} vfio_pci_core_map_bars()`,
    devices: ['edu', 'e1000e', 'nvme', 'bridge-child-a'],
    needs: [OWN_MACHINE],
  },
  ({ group, pci, openDevice }) => {
    expect(claims('vfio')).toEqual([]);
    const first = openDevice(group, pci.bdf);
    // Older kernels claim a BAR with its first use.
    for (const bar of BARS) first.region(bar).tryRead(0, 4);
    expect(inOrder(claims('vfio'))).toEqual(inOrder(bars(pci)));
    const second = openDevice(group, pci.bdf);
    first.close();
    expect(inOrder(claims('vfio'))).toEqual(inOrder(bars(pci)));
    second.close();
    expect(claims('vfio')).toEqual([]);
  },
);

test(
  'device.region.page-reserved',
  'the rest of the page of a BAR that can be mapped though it is smaller is reserved until the device is closed',
  {
    source: `${CORE} vfio_pci_probe_mmaps()`,
    devices: ['ivshmem', 'bridge-child-a'],
    needs: [OWN_MACHINE],
  },
  ({ group, pci, openDevice }) => {
    const reserved = () => inOrder(claims('vfio sub-page reserved'));
    expect(reserved()).toEqual([]);
    const device = openDevice(group, pci.bdf);
    const rests = BARS.filter((bar) => device.regionInfo(bar).flags & VFIO_REGION_INFO_FLAG_MMAP)
      .map((bar) => pci.resources()[bar]!)
      .filter(({ size }) => size < PAGE)
      .map(({ start, end }) => ({ start: end + 1n, end: start + PAGE - 1n }));
    expect(rests.length).toBeGreaterThan(0);
    expect(reserved()).toEqual(inOrder(rests));
    device.close();
    expect(reserved()).toEqual([]);
  },
);
