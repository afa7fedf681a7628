import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** The names of the interrupt handlers in /proc/interrupts that mention `text`, in order. */
export function interruptHandlers(text: string): string[] {
  return readFileSync('/proc/interrupts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(text))
    .flatMap((line) => line.match(/[\w-]+(?:\[\d+\])?\([^)]*\)/g) ?? [])
    .filter((name) => name.includes(text));
}

/** How often the interrupt with this handler has reached a processor, all processors together. */
export function interruptsTaken(handler: string): number {
  const line = readFileSync('/proc/interrupts', 'utf8')
    .split('\n')
    .find((candidate) => candidate.includes(handler));
  const counts = /^\s*\w+:((?:\s+\d+)+)\s/.exec(line ?? '')?.[1] ?? '';
  return counts
    .trim()
    .split(/\s+/)
    .reduce((sum, count) => sum + Number(count), 0);
}

/** The numbers of the message-signalled interrupts that a function has (sysfs `msi_irqs`). */
function messages(pci: { path: string }): string[] {
  const directory = join(pci.path, 'msi_irqs');
  return existsSync(directory) ? readdirSync(directory) : [];
}

/** The message-signalled interrupts that the kernel has allocated for a function. */
export function allocatedMessages(pci: { path: string }): number {
  return messages(pci).length;
}

/** The interrupt that no handler took for its own last: how many in a row, and when (/proc/irq/N/spurious). */
export function lastUnhandled(irq: number): string {
  const text = readFileSync(`/proc/irq/${irq}/spurious`, 'utf8');
  return text.slice(text.indexOf('unhandled'));
}

/** The number by which Linux knows the line of a function, or its only message. */
export function irqNumber(pci: { path: string }): number {
  const [message] = messages(pci);
  return Number(message ?? readFileSync(join(pci.path, 'irq'), 'utf8'));
}
