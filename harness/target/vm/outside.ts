import type { PlacedDevice } from './machine.ts';
import type { QmpClient } from './qmp.ts';

type Action = (
  qmp: QmpClient,
  devices: PlacedDevice[],
  args: Record<string, unknown>,
) => Promise<unknown>;

/**
 * What only the outside of a guest can do, by the name of the worker's `request`:
 * - `qmp` {execute, arguments}: any command of QEMU's machine protocol; gives what it returns.
 * - `hmp` {command}: any command of the human monitor; gives what it prints.
 * - `device_del` {role}: asks the guest to let the device go; it is gone when the guest agreed.
 * - `device_add` {role}: plugs that device again.
 * A device's id in QEMU is its role.
 */
const ACTIONS: Record<string, Action> = {
  qmp: (qmp, _devices, args) =>
    qmp.execute(String(args.execute), args.arguments as Record<string, unknown> | undefined),
  hmp: (qmp, _devices, args) => qmp.hmp(String(args.command)),
  device_del: (qmp, _devices, args) => qmp.execute('device_del', { id: String(args.role) }),
  device_add: async (qmp, devices, args) => {
    const device = devices.find(({ role }) => role === args.role);
    if (!device) throw new Error(`the machine has no role ${String(args.role)}`);
    // The human monitor takes the properties as they are written; QMP would want their types.
    const complaint = (await qmp.hmp(`device_add ${device.argument}`)).trim();
    if (complaint) throw new Error(complaint);
    return {};
  },
};

/** Names of the requests that {@link answerRequest} knows. */
export const VM_ABILITIES = Object.keys(ACTIONS);

/** Does what a worker asked for. */
export async function answerRequest(
  qmp: QmpClient | undefined,
  devices: PlacedDevice[],
  action: string,
  args: Record<string, unknown>,
): Promise<unknown> {
  const act = ACTIONS[action];
  if (!act) throw new Error(`unknown action ${action}; there are ${VM_ABILITIES.join(', ')}`);
  if (!qmp) throw new Error('QEMU is not connected');
  return act(qmp, devices, args);
}
