import { release } from 'node:os';
import semver from 'semver';

/** The kernel's release string without the distribution's suffix: `7.3.4` of `7.3.4+deb13-amd64`. */
function numeric(version: string): semver.SemVer {
  const parsed = semver.coerce(version);
  if (!parsed) throw new Error(`'${version}' is no kernel version`);
  return parsed;
}

/** Whether the running kernel is `version` or newer; `7.3` means 7.3.0. */
export function kernelAtLeast(version: string, running: string = release()): boolean {
  return semver.gte(numeric(running), numeric(version));
}
