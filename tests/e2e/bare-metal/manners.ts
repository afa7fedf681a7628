import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { linkName, readText } from '../../../harness/target/local/files.ts';
import { takeDevices } from '../../../harness/target/local/taking.ts';
import { byId, linkOf, sh, snapshot } from './machine.ts';
import { compare, outcome, outputOf, startRun } from './playing.ts';
import { planExists, startProgram, until } from './program.ts';

/** What a run is to the others on its machine: it goes when it is told to, and waits its turn. */

const NICE = 7;
const DIRECTORY = '/tmp/run';

/** Each signal that ends a run, when it has devices and a first result. */
export async function signals(): Promise<void> {
  const before = snapshot();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
    const running = startRun(DIRECTORY);
    await until(() => planExists() && journal().includes('"test-end"'), running);
    running.child.kill(name);
    outcome.outputs[name] = await outputOf(running);
    if (planExists()) outcome.problems.push(`${name}: the plan is still there`);
    if (!existsSync(`${DIRECTORY}/results.json`)) outcome.problems.push(`${name}: no report`);
    compare(name, before);
  }
}

/** A second run on a group that one has, devices in use, and a run that is to be nice. */
export async function neighbours(): Promise<void> {
  const before = snapshot();
  const first = startRun(DIRECTORY, '--nice', String(NICE));
  await until(() => journal().includes('"test-begin"'), first);
  outcome.outputs['priorities'] = [first.child.pid!, ...childrenOf(first.child.pid!)]
    .map((pid) => getPriority(pid))
    .join(' ');
  // It must not come to its end before the second one has begun.
  first.child.kill('SIGSTOP');
  outcome.outputs['second'] = await outputOf(take('8086:10d3'));
  first.child.kill('SIGCONT');
  outcome.outputs['first'] = await outputOf(first);
  compare('after two runs', before);

  outcome.outputs['mounted'] = await outputOf(take('1af4:1001', '--force'));
  compare('after a disk was refused', before);

  const link = linkOf(byId('8086:10d3'));
  sh(`ifconfig ${link} 10.0.3.1 netmask 255.255.255.0`);
  const withAddress = snapshot();
  outcome.outputs['addressed'] = await outputOf(take('8086:10d3'));
  compare('after a link with an address was refused', withAddress);
  outcome.outputs['forced'] = await outputOf(take('8086:10d3', '--force'));
  // The address is what `--force` takes away; all else is there again.
  sh(`ifconfig ${link} down`);
  compare('after a link with an address was taken', before);
}

/** What is put back while a run goes on, and what is not after it was killed. */
export async function restoring(): Promise<void> {
  await settling();
  await newOwner();
}

/** A device that its owner gives to another driver after its run was killed: it is the owner's. */
async function newOwner(): Promise<void> {
  const before = snapshot();
  const device = byId('1b36:0010');
  const running = startRun(DIRECTORY);
  await until(() => journal().includes('"test-begin"'), running);
  running.child.kill('SIGKILL');
  await running.finished;
  give(device, 'pci-stub');
  outcome.outputs['restore'] = await outputOf(startProgram('restore'));
  outcome.outputs['driver'] = linkName(`/sys/bus/pci/devices/${device}/driver`) ?? 'none';
  if (planExists()) outcome.problems.push('the plan is still there');
  give(device, 'nvme');
  compare('but for what its owner has done', before, (name) => !name.startsWith(device));
}

/** What a worker that was killed has changed of a device that stays taken. */
async function settling(): Promise<void> {
  const before = snapshot();
  const device = byId('8086:10d3');
  const method = `/sys/bus/pci/devices/${device}/reset_method`;
  const options = { devices: [device], force: false, agree: () => Promise.resolve(), note() {} };
  const taken = await takeDevices(options);
  const methods = readText(method);
  writeFileSync(method, '\n');
  outcome.outputs['changed'] = readText(method);
  outcome.problems.push(...taken.settle());
  outcome.outputs['settled'] = String(readText(method) === methods);
  outcome.problems.push(...taken.giveBack());
  compare('after a device was settled', before);
}

/** As `driverctl` does it. */
function give(bdf: string, driver: string): void {
  const path = `/sys/bus/pci/devices/${bdf}`;
  sh(`modprobe ${driver}`);
  if (linkName(`${path}/driver`) !== null) writeFileSync(`${path}/driver/unbind`, bdf);
  writeFileSync(`${path}/driver_override`, driver);
  writeFileSync('/sys/bus/pci/drivers_probe', bdf);
}

function take(id: string, ...more: string[]) {
  const device = ['--device', byId(id), '--yes', '--results', `/tmp/second-${Date.now()}`];
  return startProgram('run', 'e2e.changes', ...device, ...more);
}

function journal(): string {
  return readText(`${DIRECTORY}/journal.ndjson`);
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
}
