import { describe, expect, it } from 'vitest';
import {
  findArchive,
  formatOneLine,
  parseDeb822,
  parseOneLine,
  releaseSources,
} from './apt-sources.mjs';

const DEB822 = `# a comment
Types: deb deb-src
URIs: http://archive.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
# between fields
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://archive.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://switched-off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://third-party.example/node
Suites: nodistro
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBFdDN1ABEADaNd
`;

describe('sources in the deb822 format', () => {
  const sources = parseDeb822(DEB822);

  it('keeps binary sources that are enabled', () => {
    expect(sources.map(({ uri }) => uri)).toEqual([
      'http://archive.example/debian',
      'http://archive.example/debian-security',
      'https://third-party.example/node',
    ]);
  });

  it('reads suites, components and the path of the keyring', () => {
    expect(sources[0]).toEqual({
      uri: 'http://archive.example/debian',
      suites: ['bookworm', 'bookworm-updates'],
      components: ['main', 'contrib'],
      signedBy: '/usr/share/keyrings/debian-archive-keyring.gpg',
    });
  });

  it('does not take an embedded key for a path', () => {
    expect(sources[2]?.signedBy).toBeUndefined();
  });
});

describe('sources in the one-line format', () => {
  it('reads options, comments and several components', () => {
    const text = `
deb [arch=amd64 signed-by=/etc/apt/keyrings/a.gpg] https://archive.example/debian/ bookworm main non-free # mirror
deb-src https://archive.example/debian bookworm main
# deb https://commented.example/debian bookworm main
deb http://archive.example/debian bookworm-updates main`;
    expect(parseOneLine(text)).toEqual([
      {
        uri: 'https://archive.example/debian',
        suites: ['bookworm'],
        components: ['main', 'non-free'],
        signedBy: '/etc/apt/keyrings/a.gpg',
      },
      { uri: 'http://archive.example/debian', suites: ['bookworm-updates'], components: ['main'] },
    ]);
  });
});

describe('the archive of the installed release', () => {
  const sources = parseDeb822(DEB822);

  it('is the one that carries the release itself', () => {
    expect(findArchive(sources, 'bookworm')?.uri).toBe('http://archive.example/debian');
    expect(findArchive(sources, 'trixie')).toBeUndefined();
  });

  it('is written without the archives of third parties, with its keyring', () => {
    expect(formatOneLine(releaseSources(sources, 'bookworm'))).toBe(
      'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://archive.example/debian bookworm main\n' +
        'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://archive.example/debian bookworm-updates main\n' +
        'deb http://archive.example/debian-security bookworm-security main\n',
    );
  });
});
