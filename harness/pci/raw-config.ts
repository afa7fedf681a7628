import { accessSync, constants } from 'node:fs';
import { sys } from '../shim/index.ts';
import { ERRNO } from '../abi/errno.ts';
import { O_CLOEXEC, O_RDWR } from '../abi/libc.ts';
import { denied } from '../kernel/access.ts';
import { Answer } from '../kernel/answer.ts';
import { ByteSpace } from '../kernel/byte-space.ts';
import type { PciFunction } from './topology.ts';

/**
 * Config space as the hardware has it, through sysfs `config` (root): neither VFIO's copy nor its
 * permissions are in between. Writing here what a driver relies on breaks the driver.
 */
export class RawConfig extends ByteSpace {
  readonly #fd: number;
  readonly #path: string;
  override readonly size: number;
  #open = true;

  /** @throws EACCES for who is not root. */
  constructor(pci: PciFunction) {
    super();
    const path = `${pci.path}/config`;
    accessSync(path, constants.R_OK | constants.W_OK);
    this.#fd = new Answer(`open ${path}`, sys.open(path, O_RDWR | O_CLOEXEC), undefined).must();
    this.#path = path;
    this.size = pci.config().length;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    sys.close(this.#fd);
  }

  override read(offset: number, length: number): Buffer {
    const buffer = Buffer.alloc(length);
    const result = sys.pread(this.#fd, buffer, offset);
    const got = new Answer(`pread of sysfs config at ${offset}`, result, undefined).must();
    if (got !== length) throw new Error(`sysfs config gave ${got} of ${length} bytes at ${offset}`);
    return buffer;
  }

  /** @throws EPERM if the kernel is locked down. */
  override write(offset: number, bytes: Uint8Array): void {
    const result = sys.pwrite(this.#fd, Buffer.from(bytes), offset);
    if (result === -ERRNO.EPERM) throw denied('EPERM', this.#path, 'the kernel forbids to write');
    const put = new Answer(`pwrite of sysfs config at ${offset}`, result, undefined).must();
    if (put !== bytes.length) throw new Error(`sysfs config took ${put} of ${bytes.length} bytes`);
  }
}
