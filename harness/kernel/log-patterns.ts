/**
 * What the kernel says when something is wrong with it. A closed list: a new kind of complaint is a
 * new line here, and never a guess by severity.
 */
const COMPLAINTS: readonly RegExp[] = [
  /\bWARNING: /,
  /\bBUG: /,
  /kernel BUG at/,
  /\bOops\b/,
  /general protection fault/,
  /Unable to handle kernel/,
  /unable to handle page fault/,
  /\bKASAN\b/,
  /\bKCSAN\b/,
  /\bKFENCE: .* in /,
  /\bUBSAN\b/,
  /kmemleak: [1-9]/,
  /INFO: possible (circular|recursive) locking/,
  /possible irq lock inversion|inconsistent lock state|suspicious RCU usage/,
  /DEBUG_LOCKS_WARN_ON|lock held when returning to user space|bad unlock balance/,
  /rcu: .*(detected stall|self-detected)/i,
  /soft lockup|hard LOCKUP/,
  /blocked for more than \d+ seconds/,
  /scheduling while atomic|sleeping function called from invalid context/,
  /refcount_t: /,
  /Runtime PM usage count underflow/,
  /list_(add|del) corruption/,
  /ODEBUG: /,
  /sysfs: cannot create duplicate filename|kobject_add_internal failed/,
  /kobject: .*(tried to init an initialized|is not initialized, yet)/,
  /debugfs: .*already (present|exists)/,
  /Trying to free nonexistent resource/,
  /ERROR: DMA PTE for vPFN/,
  /Bad page state|Bad rss-counter|bad pte/i,
  /irq \d+: nobody cared|Disabling IRQ #/,
  /Kernel panic/,
  /VM_FAULT_OOM/,
  /DMAR: .*(fault|DMA (Read|Write))/i,
  /AMD-Vi: Event logged/,
  /arm-smmu.*(event|fault)/i,
  /page fault from EP/,
];

/** Complaints in form only, each with the reason why it tells nothing about VFIO. */
const HARMLESS: readonly { pattern: RegExp; reason: string }[] = [
  {
    pattern: /WARNING: .*(Spectre|Retbleed|L1TF|MDS|SRSO)/i,
    reason: 'a warning about the (emulated) CPU, printed at boot',
  },
];

/** The records that are complaints, less those that match `provoked`. */
export function complaints(records: readonly string[], provoked: readonly RegExp[]): string[] {
  return records.filter(
    (record) =>
      COMPLAINTS.some((pattern) => pattern.test(record)) &&
      !HARMLESS.some(({ pattern }) => pattern.test(record)) &&
      !provoked.some((pattern) => pattern.test(record)),
  );
}
