/**
 * One archive of the machine's apt configuration.
 * @typedef {object} AptSource
 * @property {string} uri
 * @property {string[]} suites
 * @property {string[]} components
 * @property {string} [signedBy] path of its keyring
 */

/**
 * Reads the one-line format of sources.list(5): `deb [signed-by=…] URI SUITE COMPONENT…`.
 * @param {string} text
 * @returns {AptSource[]}
 */
export function parseOneLine(text) {
  /** @type {AptSource[]} */
  const sources = [];
  for (const raw of text.split('\n')) {
    const line = raw.replace(/#.*/, '').trim();
    const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)$/.exec(line);
    if (!match) continue;
    const [, options = '', uri = '', suite = '', components = ''] = match;
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1];
    sources.push({
      uri: withoutSlash(uri),
      suites: [suite],
      components: components.split(/\s+/).filter(Boolean),
      ...(signedBy ? { signedBy } : {}),
    });
  }
  return sources;
}

/**
 * Reads the deb822 format of sources.list(5), as Debian 12's images use it.
 * @param {string} text
 * @returns {AptSource[]}
 */
export function parseDeb822(text) {
  /** @type {AptSource[]} */
  const sources = [];
  const withoutComments = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n');
  for (const stanza of withoutComments.split(/\n\s*\n/)) {
    /** @type {Record<string, string>} */
    const fields = {};
    let last = '';
    for (const line of stanza.split('\n')) {
      const field = /^([A-Za-z0-9-]+):\s*(.*)$/.exec(line);
      if (field) {
        last = /** @type {string} */ (field[1]).toLowerCase();
        fields[last] = field[2] ?? '';
      } else if (/^\s+\S/.test(line) && last) {
        fields[last] += `\n${line.trim()}`;
      }
    }
    const words = (/** @type {string} */ name) => (fields[name] ?? '').split(/\s+/).filter(Boolean);
    if (!words('types').includes('deb')) continue;
    if (/^(no|false|off|0)$/i.test(fields.enabled ?? '')) continue;
    // Signed-By may also hold a key itself; only a path can be handed on in a one-line list.
    const signedBy = words('signed-by')[0]?.startsWith('/') ? words('signed-by')[0] : undefined;
    for (const uri of words('uris')) {
      sources.push({
        uri: withoutSlash(uri),
        suites: words('suites'),
        components: words('components'),
        ...(signedBy ? { signedBy } : {}),
      });
    }
  }
  return sources;
}

/**
 * The archive from which the machine gets the release it runs: its mirror also has the other suites.
 * @param {AptSource[]} sources
 * @param {string} codename of the installed release
 * @returns {AptSource | undefined}
 */
export function findArchive(sources, codename) {
  return sources.find(
    (source) =>
      source.components.includes('main') &&
      (source.suites.includes(codename) || source.suites.includes('stable')),
  );
}

/**
 * The release's own archives (updates and security too), without those of third parties.
 * @param {AptSource[]} sources
 * @param {string} codename
 * @returns {AptSource[]}
 */
export function releaseSources(sources, codename) {
  const own = new RegExp(`^(${codename}|stable)(-updates|-security|/updates)?$`);
  return sources
    .map((source) => ({ ...source, suites: source.suites.filter((suite) => own.test(suite)) }))
    .filter((source) => source.suites.length > 0 && source.components.includes('main'));
}

/**
 * @param {AptSource[]} sources
 * @returns {string} the same in the one-line format, restricted to `main`
 */
export function formatOneLine(sources) {
  return sources
    .flatMap(({ uri, suites, signedBy }) =>
      suites.map(
        (suite) => `deb ${signedBy ? `[signed-by=${signedBy}] ` : ''}${uri} ${suite} main\n`,
      ),
    )
    .join('');
}

/** @param {string} uri */
function withoutSlash(uri) {
  return uri.replace(/\/+$/, '');
}
