/** Looks at the system before a test and after it. */
import { KernelLog } from '../kernel/kmsg.ts';
import { complaints } from '../kernel/log-patterns.ts';
import { brokenTaints } from '../kernel/taint.ts';
import type { PciFunction } from '../pci/topology.ts';
import { closeLeftovers, footprint, leftovers } from './footprint.ts';
import { HeldReferences } from './held-references.ts';
import { IdlePower } from './idle-power.ts';

/** What is otherwise after a test. */
export interface Changes {
  /** All that the kernel logged. */
  kernelLog: string[];
  /** What of it speaks of a bug, and was not provoked. */
  complaints: string[];
  /** Taints of a broken kernel that are new. */
  taints: string[];
  /** File descriptors, locked memory and references to modules and functions, in words. */
  leftovers: string[];
}

let kernelLog: KernelLog | null | undefined;

/** The kernel log, opened with the first test; null if this user may not read it. */
function log(): KernelLog | null {
  if (kernelLog === undefined) kernelLog = KernelLog.open();
  return kernelLog;
}

/** The test before: what it provoked may be logged only after its end. */
let previous: { id: string; provoked: readonly RegExp[] } = { id: 'the start', provoked: [/./] };

export class SystemWatch {
  readonly #id: string;
  readonly #nonce: string;
  readonly #provoked: readonly RegExp[];
  /** Complaints that came between the end of the test before and now. */
  readonly #late: string[];
  readonly #taints = brokenTaints();
  readonly #footprint;
  readonly #power;
  readonly #references;

  /**
   * Begins with the test.
   * @param nonce marks the test in the kernel log, so that a console alone tells who was running.
   * @param functions that the test uses
   * @param provoked messages of the test's own making; the test may add some until its end.
   */
  constructor(
    id: string,
    nonce: string,
    functions: readonly PciFunction[],
    provoked: readonly RegExp[],
  ) {
    this.#id = id;
    this.#nonce = nonce;
    this.#provoked = provoked;
    this.#late = complaints(log()?.drain() ?? [], previous.provoked).map(
      (record) => `${record} (after the end of ${previous.id})`,
    );
    log()?.mark(`begin ${id} ${nonce}`);
    this.#footprint = footprint();
    this.#power = new IdlePower(functions);
    this.#references = new HeldReferences(functions);
    previous = { id, provoked };
  }

  /** What the test changed; what it left open is closed, so that it costs that test alone. */
  end(): Changes {
    const after = footprint();
    log()?.mark(`end ${this.#id} ${this.#nonce}`);
    const records = log()?.drain() ?? [];
    closeLeftovers(this.#footprint, after);
    const held = [...this.#power.awake(), ...this.#references.held()];
    return {
      kernelLog: records,
      complaints: [...this.#late, ...complaints(records, this.#provoked)],
      taints: brokenTaints().filter((name) => !this.#taints.includes(name)),
      leftovers: [...leftovers(this.#footprint, after), ...held],
    };
  }
}
