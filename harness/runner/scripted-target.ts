import type { WorkerEvent } from '../protocol/events.ts';
import type { Session, SessionEnd, SessionHandlers, Target, Work } from '../target/target.ts';

/** What a scripted session can do; for this project's own unit tests of the supervisor. */
export interface Stage {
  /** Ids that this session was given. */
  tests: string[];
  say(event: WorkerEvent): void;
  progress(text: string): void;
  /** A request of the worker's, as far as the supervisor itself answers it. */
  ask(action: string, args: Record<string, unknown>): Promise<unknown> | undefined;
  hello(): void;
  begin(id: string): void;
  pass(id: string): void;
  /** Begins and passes the rest of the assignment and says bye. */
  finish(): void;
  end(kind: SessionEnd['kind'], detail?: string, tail?: string[]): void;
}

/** A script plays one session; a session that it does not end goes on until it is killed. */
export type Script = (stage: Stage) => void | Promise<void>;

/** A target whose sessions play scripts, in turn; the last one is played again if there are no more. */
export class ScriptedTarget implements Target {
  readonly name = 'scripted';
  readonly timeoutScale = 1;
  readonly assignment = {
    mode: 'vm' as const,
    roles: {},
    devices: [],
    abilities: [],
    allowed: [],
    blackBox: { path: '', size: 0 },
  };
  /** What each session was given, in order. */
  readonly assigned: string[][] = [];
  /** The same with what else belongs to it. */
  readonly works: Work[] = [];
  kills = 0;
  /** Sessions that have started and not ended. */
  alive = 0;
  readonly #scripts: Script[];

  constructor(...scripts: Script[]) {
    this.#scripts = scripts;
  }

  describe(): Record<string, string> {
    return { target: this.name };
  }

  release(): string[] {
    return [];
  }

  async start(work: Work, handlers: SessionHandlers): Promise<Session> {
    const { tests } = work;
    this.works.push(work);
    const script = this.#scripts[Math.min(this.assigned.length, this.#scripts.length - 1)];
    this.assigned.push(tests);
    let resolve: (end: SessionEnd) => void = () => undefined;
    let over = false;
    const ended = new Promise<SessionEnd>((settle) => (resolve = settle));
    const end = (kind: SessionEnd['kind'], detail = '', tail: string[] = []): void => {
      if (over) return;
      over = true;
      this.alive -= 1;
      resolve({ kind, detail, tail });
    };
    const say = (event: WorkerEvent): void => {
      if (!over) handlers.onEvent(event);
    };
    const stage: Stage = {
      tests,
      say,
      end,
      progress: (text) => handlers.onProgress(text),
      ask: (action, args) => handlers.answer?.(action, args),
      hello: () => say({ type: 'hello', protocol: 1, environment: { kernel: '7.3.4' } }),
      begin: (id) => say({ type: 'test-begin', id, nonce: `nonce-${id.split('.').at(-1)}` }),
      pass: (id) =>
        say({ type: 'test-end', id, status: 'pass', durationMs: 1, skip: [], kernelLog: [] }),
      finish: () => {
        for (const id of tests) {
          stage.begin(id);
          stage.pass(id);
        }
        say({ type: 'bye' });
        end('clean');
      },
    };
    this.alive += 1;
    setImmediate(() => void script?.(stage));
    return {
      ended,
      hangEvidence: async () => ['== blocked tasks', 'node:D'],
      lastCalls: async (title) => ({ calls: [`ioctl() of ${title}`], reproducer: 'int main(' }),
      kill: async () => {
        this.kills += 1;
        end('killed');
      },
    };
  }
}
