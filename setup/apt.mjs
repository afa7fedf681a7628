import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  findArchive,
  formatOneLine,
  parseDeb822,
  parseOneLine,
  releaseSources,
} from './apt-sources.mjs';
import { SetupError } from './failure.mjs';
import { withLock } from './lock.mjs';
import { cacheFolder } from './paths.mjs';
import { run, tryRun } from './shell.mjs';

/** @typedef {import('./apt-sources.mjs').AptSource} AptSource */

/** Package lists older than this are fetched again before they are relied on, in milliseconds. */
const LISTS_MAX_AGE = 24 * 3600 * 1000;

/**
 * apt with sources, lists and cache of its own: it reads nothing but the archive's address and
 * keyring from the machine's configuration, and changes nothing there.
 */
export class PrivateApt {
  /** @type {string} */
  #folder;
  /** @type {string[]} */
  #options;

  /**
   * @param {string} name of the folder below the cache
   * @param {string} list content of the sources list
   * @param {{installed: boolean}} options `installed`: whether the machine's own package status
   *   counts (to install) or is hidden (to download for another system)
   */
  constructor(name, list, { installed }) {
    this.#folder = join(cacheFolder, 'apt', name);
    mkdirSync(join(this.#folder, 'lists/partial'), { recursive: true });
    mkdirSync(join(this.#folder, 'cache/archives/partial'), { recursive: true });
    const file = join(this.#folder, 'sources.list');
    if (!existsSync(file) || readFileSync(file, 'utf8') !== list) {
      writeFileSync(file, list);
      // The lists that are there belong to other sources.
      writeFileSync(join(this.#folder, 'stale'), '');
    }
    this.#options = [
      ['Dir::Etc::sourcelist', file],
      ['Dir::Etc::sourceparts', '-'],
      ['Dir::State::lists', join(this.#folder, 'lists')],
      ['Dir::Cache', join(this.#folder, 'cache')],
      ['Dir::Cache::archives', 'archives'],
      ['APT::Sandbox::User', 'root'],
      ['Acquire::Languages', 'none'],
      ['Acquire::Retries', '3'],
      ...(installed ? [] : [['Dir::State::status', '/dev/null']]),
    ].flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  }

  /** Fetches the package lists, unless they were fetched within the last day. */
  update({ force = false } = {}) {
    const stamp = join(this.#folder, 'updated');
    const stale = join(this.#folder, 'stale');
    return withLock(join(this.#folder, 'update.lock'), async () => {
      const age = existsSync(stamp) ? Date.now() - statSync(stamp).mtimeMs : Infinity;
      if (!force && !existsSync(stale) && age < LISTS_MAX_AGE) return;
      await run('apt-get', [...this.#options, '-o', 'APT::Update::Error-Mode=any', 'update'], {
        next: 'check that this machine reaches its Debian archive (`apt-get update` must work), then try again',
      });
      writeFileSync(stamp, '');
      rmSync(stale, { force: true });
    });
  }

  /**
   * @param {string[]} args of apt-get
   * @param {import('./shell.mjs').RunOptions & {next?: string}} [options]
   */
  get(args, options) {
    return run('apt-get', [...this.#options, ...args], {
      ...options,
      env: { DEBIAN_FRONTEND: 'noninteractive', ...options?.env },
    });
  }

  /** @param {string[]} args of apt-cache */
  async query(args) {
    const { status, stdout } = await tryRun('apt-cache', [...this.#options, ...args]);
    return status === 0 ? stdout : '';
  }
}

/** @returns {Record<string, string>} the fields of /etc/os-release */
export function osRelease() {
  /** @type {Record<string, string>} */
  const fields = {};
  let text = '';
  try {
    text = readFileSync('/etc/os-release', 'utf8');
  } catch {
    // Not every system has one.
  }
  for (const line of text.split('\n')) {
    const match = /^([A-Z_]+)=(.*)$/.exec(line);
    if (match)
      fields[/** @type {string} */ (match[1])] = (match[2] ?? '').replace(/^"(.*)"$/, '$1');
  }
  return fields;
}

/** @returns {AptSource[]} what the machine's apt is configured with */
function machineSources() {
  /** @type {AptSource[]} */
  const sources = [];
  const read = (/** @type {string} */ file) => {
    const text = readFileSync(file, 'utf8');
    if (file.endsWith('.sources')) sources.push(...parseDeb822(text));
    else if (file.endsWith('.list')) sources.push(...parseOneLine(text));
  };
  if (existsSync('/etc/apt/sources.list')) read('/etc/apt/sources.list');
  const parts = '/etc/apt/sources.list.d';
  if (existsSync(parts)) for (const name of readdirSync(parts).sort()) read(join(parts, name));
  return sources;
}

/**
 * The Debian archive that this machine is configured with.
 * @returns {{codename: string, archive: AptSource, release: AptSource[]}}
 */
export function debianArchive() {
  const { ID = 'unknown', VERSION_CODENAME = '' } = osRelease();
  const sources = machineSources();
  const archive = ID === 'debian' ? findArchive(sources, VERSION_CODENAME) : undefined;
  if (!archive)
    throw new SetupError(
      ID === 'debian'
        ? `no archive for ${VERSION_CODENAME} main in /etc/apt/sources.list or /etc/apt/sources.list.d`
        : `this system is ${ID}, not Debian: no kernel can be fetched by name here`,
      ID === 'debian'
        ? 'add the Debian archive to the apt configuration'
        : 'give a kernel with --kernel PATH: a vmlinuz, a kernel build tree or a .deb',
    );
  return {
    codename: VERSION_CODENAME,
    archive,
    release: releaseSources(sources, VERSION_CODENAME),
  };
}

/**
 * apt for a suite other than the installed release, to download from it.
 * @param {string} suite e.g. `trixie-backports`
 */
export function aptForSuite(suite) {
  const { archive } = debianArchive();
  return new PrivateApt(suite, formatOneLine([{ ...archive, suites: [suite] }]), {
    installed: false,
  });
}

/** apt for the installed release and its backports, to install from. */
export function aptForInstall() {
  const { codename, archive, release } = debianArchive();
  const backports = { ...archive, suites: [`${codename}-backports`] };
  return new PrivateApt('install', formatOneLine([...release, backports]), { installed: true });
}
