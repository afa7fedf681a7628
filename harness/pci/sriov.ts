import { existsSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import type { Answer } from '../kernel/answer.ts';
import { tryWriteAttribute } from './sysfs-write.ts';
import { PciFunction } from './topology.ts';

/** The virtual functions of a physical function, in their order; none without SR-IOV. */
export function virtualFunctions(physical: PciFunction): PciFunction[] {
  const found: PciFunction[] = [];
  for (let index = 0; existsSync(`${physical.path}/virtfn${index}`); index++) {
    found.push(new PciFunction(basename(readlinkSync(`${physical.path}/virtfn${index}`))));
  }
  return found;
}

/** Writes sriov_numvfs: asks the driver of the physical function for so many virtual functions. */
export function trySetVfs(physical: PciFunction, count: number): Answer {
  return tryWriteAttribute(`${physical.path}/sriov_numvfs`, String(count));
}
