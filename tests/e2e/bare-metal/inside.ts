import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readText } from '../../../harness/target/local/files.ts';
import { captureState } from '../../../harness/target/local/device-state.ts';
import { restoreLeftovers } from '../../../harness/target/local/leftovers.ts';
import { makePlan, storePlan } from '../../../harness/target/local/plan-store.ts';
import { bringUp, byId, changes, DISK, sh, snapshot, type Snapshot } from './machine.ts';
import { OUTCOME, type Outcome } from './outcome.ts';
import { planExists, start, startProgram, until, type Running } from './program.ts';

/** Plays a scenario on the machine and leaves its outcome: see `rig.ts`. */

const results = process.env['RESULTS'] ?? '/tmp';
const outcome: Outcome = { rounds: 0, hits: 0, problems: [], outputs: {} };
/** Of so many rounds one kills what restores, too, and restores by the command. */
const RESTORE_EVERY = 5;
const NOBODY = 65534;
const CGROUPS = '/sys/fs/cgroup';
/** What a power cut must not take: the rounds so far, and how the machine was at first. */
const MEMORY = join(DISK, 'memory.json');

/** Devices with and without a driver, with virtual functions, and a disk controller. */
function spareDevices(): string[] {
  return ['1234:11e8', '8086:10c9', '8086:10d3', '1b36:0010'].flatMap((id) => [
    '--device',
    byId(id),
  ]);
}

function startRun(directory = '/tmp/run'): Running {
  // Hundreds of them would fill the memory in which they lie.
  rmSync(directory, { recursive: true, force: true });
  return startProgram('run', 'e2e.changes', ...spareDevices(), '--yes', '--results', directory);
}

/** A boot gives ports and other devices interrupt messages of its own choice. */
function isKeptByBoot(name: string): boolean {
  return !name.endsWith(' config') || spareDevices().some((bdf) => name.startsWith(bdf));
}

/** Compares with the machine as it was; what differs is a problem. */
function compare(when: string, before: Snapshot, counts: (name: string) => boolean = () => true) {
  const found = changes(before, snapshot()).filter((text) => counts(text.split(': ', 1)[0]!));
  outcome.problems.push(...found.map((text) => `${when}: ${text}`));
  report();
}

function report(): void {
  writeFileSync(join(results, OUTCOME), JSON.stringify(outcome, null, 2));
}

/** A whole run as a user would start it, and the commands around it. */
async function whole(ids: string[]): Promise<void> {
  const before = snapshot();
  outcome.outputs['devices'] = (await startProgram('devices').finished).output;
  // Somebody has pulled it out since.
  const gone = { ...captureState(byId('1234:11e8')), bdf: '0000:7f:1f.7' };
  storePlan({ ...makePlan([gone]), started: 'before' });
  const args = ['run', ...ids, ...spareDevices(), '--yes', '--allow', 'errors'];
  args.push('--results', join(results, 'run'));
  const { code, output } = await start('bin/vfio-conformance', args).finished;
  outcome.outputs['run'] = `${output}exit code ${code}`;
  compare('after the run', before);
}

/** Kills the run at random moments, and now and then what restores after it. */
async function kills(rounds: number): Promise<void> {
  const before = snapshot();
  const span = await undisturbed(before);
  for (; outcome.rounds < rounds; outcome.rounds++) {
    const running = startRun();
    await until(planExists, running);
    const moment = Math.random() * span;
    await sleep(moment);
    running.child.kill('SIGKILL');
    await running.finished;
    if (planExists()) outcome.hits++;
    const when = `round ${outcome.rounds}, killed after ${Math.round(moment)} ms`;
    if (outcome.rounds % RESTORE_EVERY === 0) await restoreByCommand(when, span);
    else await restore(when);
    compare(when, before);
  }
}

/** Resets the machine at random moments; this begins again after each of them. */
async function powerCuts(rounds: number): Promise<void> {
  const now = snapshot();
  const memory = existsSync(MEMORY)
    ? (JSON.parse(readFileSync(MEMORY, 'utf8')) as {
        outcome: Outcome;
        before: Snapshot;
        span: number;
      })
    : { outcome, before: now, span: await undisturbed(now) };
  Object.assign(outcome, memory.outcome);
  const { before, span } = memory;
  if (outcome.rounds > 0) {
    if (planExists()) outcome.hits++;
    await restore(`power cut ${outcome.rounds}`);
    compare(`power cut ${outcome.rounds}`, before, isKeptByBoot);
  }
  report();
  if (outcome.rounds === rounds) return;
  outcome.rounds++;
  const fd = openSync(MEMORY, 'w');
  writeFileSync(fd, JSON.stringify({ outcome, before, span }));
  fsyncSync(fd);
  closeSync(fd);
  await until(planExists, startRun());
  await sleep(Math.random() * span);
  // Resets the machine at once, without a sync (Documentation/admin-guide/sysrq.rst).
  writeFileSync('/proc/sysrq-trigger', 'b');
  await sleep(60_000);
}

/** A user who owns the group of a device that is with vfio-pci already, and root no more. */
async function unprivileged(): Promise<void> {
  const device = byId('1234:11e8');
  sh('modprobe vfio-pci');
  writeFileSync(`/sys/bus/pci/devices/${device}/driver_override`, 'vfio-pci');
  writeFileSync('/sys/bus/pci/drivers_probe', device);
  const group = basename(readlinkSync(`/sys/bus/pci/devices/${device}/iommu_group`));
  sh(`chown ${NOBODY} /dev/vfio/${group} && chmod 666 /dev/vfio/vfio`);
  sh(`mkdir -p /tmp/nobody && chown ${NOBODY} /tmp/nobody`);
  // A checkout in the home of root is closed to others.
  for (let path = process.cwd(); path !== '/'; path = dirname(path)) sh(`chmod a+rx ${path}`);
  const before = snapshot();
  const user = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'];
  const tests = ['device.info', 'device.config', 'container.map-dma', 'container.large-mappings'];
  const run = ['dist/cli.mjs', 'run', ...tests, '--device', device, '--yes'];
  const args = [...user, process.execPath, ...run, '--results', '/tmp/nobody/run'];
  outcome.outputs['run'] = await outputOf(start('setpriv', args, { HOME: '/tmp/nobody' }));
  const foreign = [...user, process.execPath, 'dist/cli.mjs', 'run', '--device', byId('8086:10d3')];
  foreign.push('--results', '/tmp/nobody/foreign');
  outcome.outputs['foreign'] = await outputOf(start('setpriv', foreign, { HOME: '/tmp/nobody' }));
  // VFIO leaves the memory bit of COMMAND as it was when it closed the device, and only root may write it.
  compare('after the run of a user', before, (name) => name !== `${device} config`);
}

/** Takes memory and disk space away from the run. */
async function shortages(): Promise<void> {
  const before = snapshot();
  const span = await undisturbed(before);
  mountCgroups();
  sh(`mkdir ${CGROUPS}/run`);
  writeFileSync(`${CGROUPS}/run/memory.oom.group`, '1');
  for (; outcome.rounds < 3; outcome.rounds++) {
    writeFileSync(`${CGROUPS}/run/memory.max`, 'max');
    const running = startRun();
    writeFileSync(`${CGROUPS}/run/cgroup.procs`, String(running.child.pid));
    await until(planExists, running);
    await sleep(Math.random() * span * 0.8);
    writeFileSync(`${CGROUPS}/run/memory.max`, '1M');
    await running.finished;
    if (running.child.signalCode !== 'SIGKILL') outcome.problems.push('the run had memory enough');
    if (planExists()) outcome.hits++;
    await restore(`out of memory ${outcome.rounds}`);
    compare(`out of memory ${outcome.rounds}`, before);
  }

  sh('mkdir -p /tmp/small /tmp/closed && mount -t tmpfs -o size=16m small /tmp/small');
  sh('mount -t tmpfs -o ro closed /tmp/closed');
  const filled = startRun('/tmp/small/results');
  await until(planExists, filled);
  sh('dd if=/dev/zero of=/tmp/small/filling bs=64k 2>/dev/null; sync');
  outcome.outputs['full results'] = await outputOf(filled);
  outcome.outputs['journal'] = readFileSync('/tmp/small/results/journal.ndjson', 'utf8');
  compare('results on a full disk', before);
  outcome.outputs['closed results'] = await outputOf(startRun('/tmp/closed/results'));
  compare('results on a closed disk', before);
  sh(`dd if=/dev/zero of=${DISK}/filling bs=64k 2>/dev/null; sync`);
  outcome.outputs['no room for the plan'] = await outputOf(startRun());
  sh(`rm ${DISK}/filling`);
  compare('no room for the plan', before);
}

/** `--memory` where nothing can hold a run to it, and a test that takes more where a cgroup can. */
async function memoryBound(): Promise<void> {
  const before = snapshot();
  const edu = ['--device', byId('1234:11e8'), '--yes', '--memory', '1G', '--results'];
  outcome.outputs['nothing holds it'] = await outputOf(
    startProgram('run', 'e2e.changes', ...edu, '/tmp/unbound'),
  );
  mountCgroups();
  const bound = startProgram('run', 'e2e.greedy', ...edu, '/tmp/bound');
  const peaks = { run: 0, worker: 0 };
  await until(() => {
    peaks.run =
      sizeIn(`/proc/${bound.child.pid}/status`, /^VmHWM:\s*(\d+) kB$/m) * 1024 || peaks.run;
    peaks.worker =
      sizeIn(`${CGROUPS}/vfio-conformance-${bound.child.pid}/memory.peak`, /^(\d+)$/m) ||
      peaks.worker;
    return false;
  }, bound);
  outcome.outputs['a cgroup holds it'] = await outputOf(bound);
  outcome.outputs['peaks'] = JSON.stringify(peaks);
  if (readdirSync(CGROUPS).some((name) => name.startsWith('vfio-conformance')))
    outcome.problems.push('the cgroup is still there');
  compare('after runs that took too much', before);
}

/** A number in a file; 0 if it is not there. */
function sizeIn(file: string, pattern: RegExp): number {
  return Number(pattern.exec(readText(file))?.[1] ?? 0);
}

function mountCgroups(): void {
  sh(`mkdir -p ${CGROUPS} && mount -t cgroup2 none ${CGROUPS}`);
  writeFileSync(`${CGROUPS}/cgroup.subtree_control`, '+memory');
}

/** A run that nobody disturbs; milliseconds for which it has the devices. */
async function undisturbed(before: Snapshot): Promise<number> {
  const running = startRun();
  await until(planExists, running);
  const began = Date.now();
  await until(() => !planExists(), running);
  const span = Date.now() - began;
  outcome.outputs['undisturbed run'] = await outputOf(running);
  compare('after an undisturbed run', before);
  return span;
}

async function outputOf(running: Running): Promise<string> {
  const { code, output } = await running.finished;
  return `${output}exit code ${code}`;
}

async function restore(when: string): Promise<void> {
  for (const { problems } of await restoreLeftovers())
    outcome.problems.push(...problems.map((text) => `${when}: ${text}`));
  if (planExists()) outcome.problems.push(`${when}: the plan is still there`);
}

/** The command, killed on its way, then once more, then when there is nothing left to do. */
async function restoreByCommand(when: string, span: number): Promise<void> {
  const killed = startProgram('restore');
  await sleep(Math.random() * span);
  killed.child.kill('SIGKILL');
  await killed.finished;
  for (const time of ['first', 'second']) {
    const said = await outputOf(startProgram('restore'));
    if (!said.endsWith('exit code 0')) outcome.problems.push(`${when}, ${time} restore: ${said}`);
    if (planExists()) outcome.problems.push(`${when}: the plan is still there`);
  }
}

bringUp();
const [scenario, ...args] = process.argv.slice(2);
if (scenario === 'whole') await whole(args);
else if (scenario === 'kills') await kills(Number(args[0]));
else if (scenario === 'power-cuts') await powerCuts(Number(args[0]));
else if (scenario === 'shortages') await shortages();
else if (scenario === 'memory-bound') await memoryBound();
else if (scenario === 'unprivileged') await unprivileged();
else throw new Error(`no scenario ${scenario}`);
report();
