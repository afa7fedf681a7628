import type { WorkerEvent } from '../protocol/events.ts';

/** A line of the worker's; what is no event (a dying kernel may garble it) becomes a log event. */
export function parseWorkerLine(line: string): WorkerEvent {
  try {
    const event = JSON.parse(line) as WorkerEvent;
    if (typeof event.type === 'string') return event;
  } catch {
    // below
  }
  return { type: 'log', text: `unreadable line from the worker: ${line}` };
}
