import type { Kind } from '../../../harness/testing/index.ts';
import { ROLES, type LifeRun } from './life-stage.ts';

/**
 * Devices that come and go while their groups are open. Never one that somebody has open: whoever takes
 * it away waits for the last close.
 */
export const BINDING: Readonly<Record<string, Kind<LifeRun>>> = {
  unbind: {
    weight: 1 / 2,
    fields: { role: ROLES.length },
    issue(run, role = 0) {
      const { model, stage } = run;
      if (!stage.canRebind || !model.canLeave(role)) return;
      stage.addRebind(run, role, 'unbind');
      model.leave(role, 'unbound');
    },
  },
  bind: {
    weight: 3,
    fields: { role: ROLES.length },
    issue(run, role = 0) {
      const { model, stage } = run;
      if (model.presences[role] !== 'unbound') return;
      stage.addRebind(run, role, 'bind');
      model.arrive(role);
    },
  },
  remove: {
    weight: 1 / 16,
    fields: { role: ROLES.length },
    issue(run, role = 0) {
      const { model, stage } = run;
      if (!stage.canRebind || !model.canLeave(role)) return;
      stage.addRemove(run, role);
      model.leave(role, 'removed');
    },
  },
};
