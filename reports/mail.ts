import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Dossier } from './dossier.ts';
import { splatsOf } from './splat/title.ts';
import { oneLine, printable } from './text.ts';

/** Settings that decide how VFIO and its errors behave. */
const TELLING =
  /^(?:CONFIG_(?:VFIO|IOMMU|IOMMUFD|INTEL_IOMMU|AMD_IOMMU|VIRTIO_IOMMU|IRQ_REMAP|PREEMPT|KASAN|KCSAN|UBSAN|PROVE_LOCKING|DEBUG_LIST|PCIEAER|HOTPLUG_PCI|TRANSPARENT_HUGEPAGE)(?:_\w+)?=)/;
/** So much of a log, or of calls, still fits into a mail; what is left out is said. */
const MOST_LINES = 150;

/** A dossier as the body of a mail to a kernel list: plain text, nothing attached. */
export function renderMail(dossier: Dossier, config = kernelConfig(dossier)): string {
  const { facts, calls, kernelLog, reproducer } = dossier;
  const { failure, environment } = facts;
  const fact = (name: string) => environment[name];
  const splats = splatsOf(kernelLog.split('\n'));
  // A splat says more than all that was logged around it.
  const log =
    splats.length > 0 ? splats.flatMap(({ lines }) => [...lines, '']) : linesOf(kernelLog);
  const sections: [string, string[]][] = [
    ['Kernel log', log],
    ['System calls', linesOf(calls)],
    ['Kernel configuration', config],
    [
      'Reproducer (gcc -std=gnu11 -pthread -o reproducer reproducer.c && ./reproducer)',
      reproducer === null ? [] : linesOf(readFileSync(reproducer, 'utf8')),
    ],
  ];
  const lines = [
    `Subject: [BUG] vfio: ${facts.kind === 'assertion' ? `does not hold: ${facts.promise}` : facts.title}`,
    '',
    `On Linux ${facts.kernel} this does not hold:`,
    '',
    `    ${facts.promise}`,
    '',
    ...facts.source.map((source) => `(${source})`),
    '',
    ...linesOf(failure.message),
    ...(failure.expected === undefined ? [] : ['', `Expected: ${compact(failure.expected)}`]),
    ...(failure.observed === undefined ? [] : [`Observed: ${compact(failure.observed)}`]),
    '',
    `Kernel:       ${facts.kernel} ${String(fact('kernelVersion') ?? '')}`.trimEnd(),
    `Command line: ${String(fact('commandLine') ?? fact('kernel command line') ?? 'unknown')}`,
    `Machine:      ${[fact('architecture'), fact('machine description') ?? facts.machine, fact('QEMU') && `QEMU ${String(fact('QEMU'))}`].filter(Boolean).join(', ')}`,
    `Found by:     vfio-conformance ${facts.version}, test ${facts.id}`,
    `Run it again: ${facts.rerun}`,
  ];
  for (const [title, content] of sections) {
    if (content.length === 0) continue;
    const program = title.startsWith('Reproducer');
    lines.push('', `${title}:`, '', ...(program ? content : shortened(content)));
  }
  return lines.map((line) => printable(line).trimEnd()).join('\n') + '\n';
}

/** The telling lines of the configuration beside the kernel's image, if it lies on this machine. */
function kernelConfig({ facts }: Dossier): string[] {
  const folder = dirname(String(facts.environment['kernel image'] ?? '/nowhere/vmlinuz'));
  const places = ['.config', 'config', '../../../.config', `config-${facts.kernel}`];
  const path = places.map((name) => join(folder, name)).find((name) => existsSync(name));
  return path === undefined
    ? []
    : linesOf(readFileSync(path, 'utf8')).filter((line) => TELLING.test(line));
}

/** A list that was printed one item a line, in one line if that is not too long. */
function compact(value: string): string {
  const LONG = 200;
  const line = oneLine(value);
  return line.length <= LONG ? line : value;
}

function shortened(lines: readonly string[]): string[] {
  if (lines.length <= MOST_LINES) return [...lines];
  const half = MOST_LINES / 2;
  const left = lines.length - MOST_LINES;
  return [...lines.slice(0, half), `[... ${left} lines left out ...]`, ...lines.slice(-half)];
}

function linesOf(text: string): string[] {
  return text.trimEnd() === '' ? [] : text.trimEnd().split('\n');
}
