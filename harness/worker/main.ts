import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { uapi } from '../abi/uapi.ts';
import { PROTOCOL_VERSION, type LastCalls } from '../protocol/events.ts';
import { auditCase } from '../audit/audit-case.ts';
import { openBlackBox, readBlackBox } from '../shim/index.ts';
import { runCase } from '../testing/execute.ts';
import { decodeRuns, renderReproducer } from '../trace/index.ts';
import type { Case } from '../testing/registry.ts';
import { setMachine } from '../testing/machine.ts';
import { setOutside } from '../testing/outside.ts';
import { Channel } from './channel.ts';
import { measureBenches } from './bench.ts';
import { collectBenches, collectCases } from './collect.ts';
import { environment } from './environment.ts';
import { runSlices } from './fuzz.ts';
import { configItems } from '../vfio/config-items.ts';

/** Executes one assignment: every test in its order, until done or until something cannot be put back. */
async function execute(where: string): Promise<void> {
  const channel = new Channel(where);
  channel.send({ type: 'hello', protocol: PROTOCOL_VERSION, environment: environment() });
  const assignment = channel.receive();
  if (assignment.type !== 'assignment' || assignment.protocol !== PROTOCOL_VERSION) {
    throw new Error(`expected an assignment of protocol ${PROTOCOL_VERSION}: rebuild both sides`);
  }
  setMachine(assignment);
  setOutside((action, args) => channel.ask(action, args));
  if (assignment.bench) return measureBenches(channel, assignment.tests, assignment.bench);
  keepLastCalls(channel, assignment.blackBox);
  const cases = await collectCases();
  if (assignment.fuzz) {
    const reason = runSlices(cases, assignment.fuzz, (event) => channel.send(event));
    if (reason !== null) channel.send({ type: 'abort', reason });
  }
  for (const id of assignment.tests) {
    const testCase = cases.get(id);
    if (!testCase) throw new Error(`there is no test '${id}'`);
    if (assignment.audit) {
      const plan = {
        ...assignment.audit,
        from: id === assignment.tests[0] ? assignment.audit.from : 0,
      };
      if (!audit(channel, testCase, plan)) break;
      continue;
    }
    const nonce = randomBytes(4).toString('hex');
    channel.send({ type: 'test-begin', id, nonce });
    const { abort, ...outcome } = runCase(testCase, nonce);
    channel.send({ type: 'test-end', id, ...outcome });
    if (abort !== undefined) {
      channel.send({ type: 'abort', reason: `after ${id}: ${abort}` });
      break;
    }
  }
  channel.send({ type: 'bye' });
}

/** A run without a black box is still a run: only deaths tell less then. */
function keepLastCalls(channel: Channel, { path, size }: { path: string; size: number }): void {
  try {
    openBlackBox(path, size);
  } catch (error) {
    channel.send({ type: 'log', text: `no black box: ${(error as Error).message}` });
  }
}

/** What a dead worker left in its black box. */
function tellLastCalls(file: string, title: string): void {
  const runs = readBlackBox(readFileSync(file));
  const last: LastCalls = {
    calls: decodeRuns(runs),
    reproducer: renderReproducer(runs, { title, failedAt: undefined }),
  };
  process.stdout.write(JSON.stringify(last) + '\n');
}

/** Audits one test. False if the session has to end because something could not be put back. */
function audit(channel: Channel, testCase: Case, plan: { from: number; most: number }): boolean {
  const { id } = testCase.meta;
  const result = auditCase(testCase, plan, {
    onPlan: (lies) => channel.send({ type: 'audit-plan', id, lies }),
    onLieBegin: (index, text) => channel.send({ type: 'lie-begin', id, index, text }),
    onLieEnd: (index, noticed, told) => channel.send({ type: 'lie-end', id, index, noticed, told }),
  });
  if (result.abort !== undefined) channel.send({ type: 'abort', reason: result.abort });
  else channel.send({ type: 'audit-end', id, reason: result.reason });
  return result.abort === undefined;
}

async function list(): Promise<void> {
  const cases = await collectCases();
  process.stdout.write(JSON.stringify([...cases.values()].map(({ meta }) => meta)) + '\n');
}

async function listBenches(): Promise<void> {
  const benches = await collectBenches();
  process.stdout.write(JSON.stringify([...benches.values()].map(({ meta }) => meta)) + '\n');
}

function listUapi(): void {
  const { items, errnos } = uapi();
  process.stdout.write(JSON.stringify({ items: [...items, ...configItems()], errnos }) + '\n');
}

const [command, argument, title = ''] = process.argv.slice(2);
if (command === '--list') await list();
else if (command === '--list-benches') await listBenches();
else if (command === '--uapi') listUapi();
else if (command === '--channel' && argument !== undefined) await execute(argument);
else if (command === '--black-box' && argument !== undefined) tellLastCalls(argument, title);
else {
  process.stderr.write(
    'usage: worker --list | --list-benches | --uapi | --channel PATH|fd:N | --black-box FILE TITLE\n',
  );
  process.exitCode = 2;
}
