import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { normalise, stripPrefix } from './normalise.ts';
import { splatsOf } from './title.ts';

/** What a small module made Linux 7.3.4 in QEMU say, complete from the first to the last splat. */
const golden = (name: string): string[] =>
  readFileSync(join(import.meta.dirname, 'samples', `${name}.log`), 'utf8').split('\n');

const titles = (log: string[]): string[] => splatsOf(log).map(({ title }) => title);

describe('splats of a real kernel', () => {
  it('finds warnings with and without a message', () => {
    expect(titles(golden('linux-7.3-warnings'))).toEqual([
      'WARNING in golden_provoke',
      'WARNING in golden_provoke',
    ]);
  });

  it('finds oopses, a BUG, a broken count, sleep in atomic context and a stall', () => {
    expect(titles(golden('linux-7.3-oopses'))).toEqual([
      'NULL pointer dereference in golden_provoke',
      'general protection fault in golden_provoke',
      'kernel BUG at golden_bug.c in golden_provoke',
      'refcount_t: addition on 0 in golden_provoke',
      'scheduling while atomic in golden_provoke',
      'WARNING in do_one_initcall',
      'scheduling while atomic in golden_provoke',
      'WARNING in do_one_initcall',
      'RCU stall in golden_provoke',
    ]);
  });

  it('finds what KASAN and UBSAN report', () => {
    expect(titles(golden('linux-7.3-kasan-ubsan'))).toEqual([
      'KASAN: slab-use-after-free in golden_use_after_free',
      'KASAN: slab-out-of-bounds in golden_out_of_bounds',
      'KASAN: double-free in golden_init',
      'UBSAN: shift-out-of-bounds in drivers/misc/golden_splats.c',
      'UBSAN: array-index-out-of-bounds in drivers/misc/golden_splats.c',
    ]);
  });

  it('finds what lockdep reports, of locks and of RCU', () => {
    expect(titles(golden('linux-7.3-locking'))).toEqual([
      'lockdep: possible circular locking dependency detected in golden_ba',
      'lockdep: possible recursive locking detected in golden_recursive',
      'lockdep: bad unlock balance detected in golden_init',
      'lockdep: inconsistent lock state in golden_inconsistent',
      'suspicious RCU usage at drivers/misc/golden_splats.c',
      'sleeping function called from invalid context in golden_atomic_sleep',
    ]);
  });

  it('finds a name that is given twice in sysfs', () => {
    expect(titles(golden('linux-7.3-sysfs'))).toEqual([
      'sysfs: cannot create duplicate filename in mdev_device_create',
    ]);
  });

  it('finds a broken list and a timer that is freed while it runs', () => {
    expect(titles(golden('linux-7.3-lists-timers'))).toEqual([
      'list_del corruption, N->next is LIST_POISON1 (N) in golden_list',
      'ODEBUG: free active (active state 0) object: N object type: timer_list hint: golden_timer in golden_init',
    ]);
  });

  it('finds a processor and tasks that do not go on, each time they are reported', () => {
    expect(titles(golden('linux-7.3-lockups'))).toEqual([
      ...Array.from({ length: 2 }, () => 'soft lockup in golden_soft_lockup'),
      ...Array.from({ length: 3 }, () => [
        'hung task in golden_init',
        'hung task in golden_hang',
      ]).flat(),
    ]);
  });

  it('keeps each splat whole and apart', () => {
    const splats = splatsOf(golden('linux-7.3-warnings'));
    for (const { lines } of splats) {
      expect(lines[0]).toBe('------------[ cut here ]------------');
      expect(lines.at(-1)).toBe('---[ end trace 0000000000000000 ]---');
      expect(lines.filter((line) => line.includes('Call Trace'))).toHaveLength(1);
    }
    expect(splats[1]?.lines[1]).toMatch(/^vfio golden: group 17/);
  });
});

describe('splats by their form', () => {
  it.each<[string, string, string[]]>([
    [
      'a warning as printed until 6.17',
      'WARNING in vfio_group_detach_container',
      [
        '[  1.0] ------------[ cut here ]------------',
        '[  1.0] WARNING: CPU: 1 PID: 77 at drivers/vfio/container.c:432 vfio_group_detach_container+0x4f/0x110 [vfio]',
        '[  1.0] RIP: 0010:vfio_group_detach_container+0x4f/0x110 [vfio]',
        '[  1.0] ---[ end trace 0000000000000000 ]---',
      ],
    ],
    [
      'KASAN',
      'KASAN: slab-use-after-free in vfio_pci_core_ioctl',
      [
        '==================================================================',
        'BUG: KASAN: slab-use-after-free in vfio_pci_core_ioctl+0x1c3/0x9a0 [vfio_pci_core]',
        'Read of size 8 at addr ffff88810a2b4c00 by task node/412',
        'Call Trace:',
        ' <TASK>',
        ' dump_stack_lvl+0x5d/0x80',
        ' </TASK>',
        'Freed by task 411:',
        ' kfree+0x121/0x3f0',
        '==================================================================',
        'Disabling lock debugging due to kernel taint',
      ],
    ],
    [
      'a lock order',
      'lockdep: possible circular locking dependency detected in vfio_pci_mmap_page_fault',
      [
        '======================================================',
        'WARNING: possible circular locking dependency detected',
        '6.12.0 #1 Not tainted',
        '------------------------------------------------------',
        'node/812 is trying to acquire lock:',
        'ffff888104a3c8b0 (&vdev->memory_lock){++++}-{3:3}, at: vfio_pci_mmap_page_fault+0x44/0x120',
        'stack backtrace:',
        ' <TASK>',
        ' dump_stack_lvl+0x5d/0x80',
        ' </TASK>',
      ],
    ],
    [
      'RCU used wrongly',
      'suspicious RCU usage at drivers/vfio/vfio_main.c',
      [
        '=============================',
        'WARNING: suspicious RCU usage',
        '-----------------------------',
        'drivers/vfio/vfio_main.c:321 suspicious rcu_dereference_check() usage!',
        ' </TASK>',
      ],
    ],
    [
      'a soft lockup',
      'soft lockup in vfio_unmap_unpin',
      [
        'watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [node:1234]',
        'CPU: 1 UID: 0 PID: 1234 Comm: node Not tainted 6.12.0 #1',
        'RIP: 0010:vfio_unmap_unpin+0x10a/0x3b0 [vfio_iommu_type1]',
        'Call Trace:',
        ' <TASK>',
        ' </TASK>',
      ],
    ],
    [
      'a hung task',
      'hung task in vfio_unregister_group_dev',
      [
        'INFO: task sh:345 blocked for more than 120 seconds.',
        '      Not tainted 6.12.0 #1',
        'task:sh              state:D stack:0     pid:345   tgid:345   ppid:1',
        'Call Trace:',
        ' <TASK>',
        ' __schedule+0x3f7/0xbd0',
        ' schedule+0x27/0xf0',
        ' schedule_timeout+0x8a/0x160',
        ' ? __pfx_process_timeout+0x10/0x10',
        ' wait_for_completion_interruptible_timeout+0x9c/0x1b0',
        ' vfio_unregister_group_dev+0x9e/0x130 [vfio]',
        ' </TASK>',
      ],
    ],
    [
      'a bound',
      'UBSAN: array-index-out-of-bounds in drivers/vfio/pci/vfio_pci_config.c',
      [
        'UBSAN: array-index-out-of-bounds in drivers/vfio/pci/vfio_pci_config.c:1203:5',
        'index 31 is out of range for type',
        '---[ end trace ]---',
      ],
    ],
    [
      'a panic',
      'panic: sysrq triggered crash',
      ['Kernel panic - not syncing: sysrq triggered crash'],
    ],
    [
      'a fault at an IOMMU',
      'DMAR: DMA Write: PTE Write access is not set',
      [
        'DMAR: [DMA Write NO_PASID] Request device [0000:00:02.0] fault addr 0x100000 [fault reason 0x05] PTE Write access is not set',
        'DMAR: DRHD: handling fault status reg 2',
      ],
    ],
    [
      'an interrupt nobody wants',
      'irq: nobody cared',
      ['irq 16: nobody cared (try booting with the "irqpoll" option)'],
    ],
  ])('%s', (_, title, log) => {
    expect(titles(log)[0]).toMatch(new RegExp(`^${title.replace(/[.()]/g, '\\$&')}`));
    expect(titles(log)).toHaveLength(1);
  });

  it('finds nothing in what is no splat', () => {
    expect(titles(['vfio-pci 0000:00:02.0: enabling device (0000 -> 0002)', ''])).toEqual([]);
  });

  it('takes a log that ends in the middle', () => {
    const log = golden('linux-7.3-warnings').slice(0, 12);
    expect(titles(log)).toEqual(['WARNING in golden_provoke']);
  });
});

describe('normalising', () => {
  it.each([
    ['<4>[   12.345678][  T123] hello', 'hello'],
    ['vfio_x.isra.0+0x12/0x340 [vfio]', 'vfio_x [vfio]'],
    ['CPU: 3 PID: 1234 node/77 [node:77]', 'CPU PID node [node]'],
    ['0000:3b:00.1: at ffff88810a2b4c00 and 0x1f', 'BDF: at N and N'],
    ['drivers/vfio/vfio_main.c:123 stuck for 26s', 'drivers/vfio/vfio_main.c stuck for N s'],
    ['expected EBUSY, observed EINVAL', 'expected EBUSY, observed EINVAL'],
  ])('%s', (text, expected) => {
    expect(normalise(text)).toBe(expected);
  });

  it('keeps brackets that are no time stamp', () => {
    expect(stripPrefix('[node] says')).toBe('[node] says');
  });
});
