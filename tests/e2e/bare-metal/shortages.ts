import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { readText } from '../../../harness/target/local/files.ts';
import { byId, DISK, sh, snapshot } from './machine.ts';
import { compare, outcome, outputOf, restore, startRun, undisturbed } from './playing.ts';
import { planExists, startProgram, until } from './program.ts';

const CGROUPS = '/sys/fs/cgroup';

/** Takes memory and disk space away from the run. */
export async function shortages(): Promise<void> {
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
export async function memoryBound(): Promise<void> {
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
