import { describe, expect, it } from 'vitest';
import { linuxCommandLine, qemuArguments } from './command-line.ts';
import { placeDevices, rolePaths } from './machine.ts';
import { MACHINES } from './machines.ts';

describe.each(MACHINES)('machine $name', (machine) => {
  const placed = placeDevices(machine);

  it('has every role, every id and every address once', () => {
    const unique = (values: unknown[]): number => new Set(values).size;
    const roles = placed.flatMap(({ role }) => role ?? []);
    expect(unique(roles)).toBe(roles.length);
    expect(unique(placed.map(({ id }) => id))).toBe(placed.length);
    expect(unique(placed.map(({ path }) => path.join('/')))).toBe(placed.length);
  });

  it('leaves the slots of the chipset and of the virtio devices free', () => {
    for (const { path } of placed) expect(path[0]).not.toMatch(/^(00|1d|1e|1f)\./);
  });

  it('makes every port and bridge before what is behind it', () => {
    const made = new Set(['pcie.0']);
    for (const { id, argument } of placed) {
      expect(made).toContain(/,bus=([^,]+)/.exec(argument)?.[1]);
      made.add(id);
    }
  });

  it('offers what the suites need', () => {
    expect(Object.keys(rolePaths(machine))).toEqual(
      expect.arrayContaining(['edu', 'edu-rp', 'e1000e', 'igb', 'nvme', 'virtio-net']),
    );
  });
});

describe('placing devices', () => {
  const machine = {
    ...MACHINES[0]!,
    devices: [
      { at: '02.0', device: 'edu,dma_mask=1', role: 'edu' },
      {
        at: '1c.3',
        device: 'pcie-root-port',
        behind: [{ at: '00.0', device: 'igb', role: 'igb' }],
      },
    ],
  };

  it('gives QEMU addresses and the guest paths', () => {
    expect(placeDevices(machine).map(({ argument }) => argument)).toEqual([
      'edu,dma_mask=1,id=edu,bus=pcie.0,addr=0x02.0x0',
      'pcie-root-port,id=at-1c_3,bus=pcie.0,addr=0x1c.0x3,chassis=1,slot=1',
      'igb,id=igb,bus=at-1c_3,addr=0x00.0x0',
    ]);
    expect(rolePaths(machine)).toEqual({ edu: ['02.0'], igb: ['1c.3', '00.0'] });
  });
});

describe('a root bus of its own', () => {
  const machine = {
    ...MACHINES[0]!,
    devices: [
      {
        at: '16.0',
        device: 'pxb-pcie',
        rootBus: '80',
        behind: [
          {
            at: '00.0',
            device: 'pcie-root-port',
            behind: [{ at: '00.0', device: 'edu', role: 'e' }],
          },
        ],
      },
    ],
  };

  it('begins the paths of what is behind it', () => {
    expect(placeDevices(machine).map(({ argument }) => argument)).toEqual([
      'pxb-pcie,id=at-16_0,bus=pcie.0,addr=0x16.0x0,bus_nr=0x80',
      'pcie-root-port,id=at-80_00_0,bus=at-16_0,addr=0x00.0x0,chassis=1,slot=1',
      'edu,id=e,bus=at-80_00_0,addr=0x00.0x0',
    ]);
    expect(rolePaths(machine)).toEqual({ e: ['80:00.0', '00.0'] });
  });
});

describe('the command lines', () => {
  const machine = MACHINES[0]!;

  it("puts the user's words for Linux last, where they win", () => {
    expect(linuxCommandLine(machine, ['iommu.strict=1'])).toMatch(
      / intel_iommu=on iommu.strict=1$/,
    );
  });

  it("puts the user's arguments for QEMU last, and doubles commas in paths", () => {
    const args = qemuArguments({
      machine,
      accelerator: { name: 'tcg', argument: 'tcg,thread=single', reason: '', timeoutScale: 1 },
      vmlinuz: '/k',
      initramfs: '/i',
      append: [],
      extra: ['-device', 'edu'],
      devices: placeDevices(machine, '/rom'),
      files: {
        console: { path: '/a,b/console.log' },
        consoleInput: '/f',
        resultsShare: '/a,b/guest',
        blackBox: '/results/black-box',
        sockets: { qmp: '/q', events: '/e', status: '/s' },
      },
    });
    expect(args.slice(-2)).toEqual(['-device', 'edu']);
    expect(args).toContain('tcg,thread=single');
    expect(args.find((arg) => arg.includes('id=results'))).toContain('path=/a,,b/guest,');
    expect(args.find((arg) => arg.includes('id=console'))).toContain('path=/a,,b/console.log,');
    expect(args.join(' ')).not.toContain('@ROM@');
  });
});
