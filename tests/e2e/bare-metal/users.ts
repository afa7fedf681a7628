import { readlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { captureState } from '../../../harness/target/local/device-state.ts';
import { makePlan, storePlan } from '../../../harness/target/local/plan-store.ts';
import { byId, sh, snapshot } from './machine.ts';
import { compare, outcome, outputOf, results, spareDevices } from './playing.ts';
import { start, startProgram } from './program.ts';

const NOBODY = 65534;

/** A whole run as a user would start it, and the commands around it. */
export async function whole(ids: string[]): Promise<void> {
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

/** A user who owns the group of a device that is with vfio-pci already, and root no more. */
export async function unprivileged(): Promise<void> {
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
