/** One entry of an initramfs. */
export type CpioEntry =
  | { path: string; kind: 'directory' }
  | { path: string; kind: 'file'; mode: number; content: Uint8Array }
  | { path: string; kind: 'link'; target: string }
  | { path: string; kind: 'character-device'; major: number; minor: number };

/** An archive in the `newc` format, which the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst). */
export function cpioArchive(entries: CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  const append = (
    path: string,
    mode: number,
    content: Uint8Array,
    rdev: [number, number],
  ): void => {
    const name = Buffer.from(`${path}\0`);
    const fields = [
      parts.length + 1, // inode
      mode,
      0, // uid
      0, // gid
      1, // links
      0, // mtime: the same input gives the same archive
      content.length,
      0,
      0,
      ...rdev,
      name.length,
      0, // checksum, unused in newc
    ];
    const header = Buffer.from(
      '070701' + fields.map((value) => value.toString(16).padStart(8, '0')).join(''),
    );
    parts.push(padded(Buffer.concat([header, name])), padded(Buffer.from(content)));
  };
  for (const entry of entries) {
    if (entry.kind === 'directory') append(entry.path, 0o040755, Buffer.alloc(0), [0, 0]);
    else if (entry.kind === 'file')
      append(entry.path, 0o100000 | entry.mode, entry.content, [0, 0]);
    else if (entry.kind === 'link') append(entry.path, 0o120777, Buffer.from(entry.target), [0, 0]);
    else append(entry.path, 0o020600, Buffer.alloc(0), [entry.major, entry.minor]);
  }
  append('TRAILER!!!', 0, Buffer.alloc(0), [0, 0]);
  return Buffer.concat(parts);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
