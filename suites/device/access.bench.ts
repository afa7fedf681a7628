/** Single accesses to a device: through pread and pwrite, and to mapped regions. */
import {
  MAP_SHARED,
  PCI_COMMAND,
  PCI_INTERRUPT_LINE,
  PROT_READ,
  PROT_WRITE,
  VFIO_PCI_CONFIG_REGION_INDEX,
  bench,
  enableDevice,
  scratchRegisters,
  type Device,
  type Measure,
} from '../../harness/testing/index.ts';

const operations = ['read', 'write'];

/** Reads a place of a region and writes back what was there. */
function measurePositioned(
  measure: Measure,
  device: Device,
  index: number,
  offset: number,
  bytes: number,
): void {
  const { info } = device.region(index);
  const position = info.offset + BigInt(offset);
  measure((program, timed) => {
    const data = program.data(bytes);
    timed('read', program.syscall('pread', device.fd, data, bytes, position));
    timed('write', program.syscall('pwrite', device.fd, data, bytes, position));
  });
}

for (const [name, offset] of [
  ['command', PCI_COMMAND],
  ['interrupt-line', PCI_INTERRUPT_LINE],
] as const) {
  bench(
    `device.config.${name}`,
    `reading and writing the ${name} register of the configuration space`,
    { device: 'edu', operations, parameters: { width: name === 'command' ? 16 : 8 } },
    ({ device }, measure) =>
      measurePositioned(
        measure,
        device,
        VFIO_PCI_CONFIG_REGION_INDEX,
        offset,
        name === 'command' ? 2 : 1,
      ),
  );
}

for (const width of [8, 16, 32]) {
  bench(
    `device.config.read-${width}`,
    `reading ${width} bits of the configuration space`,
    { device: 'edu', parameters: { width } },
    ({ device }, measure) => {
      const { info } = device.config;
      measure((program, timed) => {
        const data = program.data(4);
        timed('', program.syscall('pread', device.fd, data, width / 8, info.offset));
      });
    },
  );
}

bench(
  'device.config.read-all',
  'reading the whole configuration space with one call',
  { device: 'e1000e', units: { bytes: 4096 } },
  ({ device }, measure) => {
    const { info, size } = device.config;
    measure((program, timed) =>
      timed('', program.syscall('pread', device.fd, program.data(size), size, info.offset)),
    );
  },
);

/** ivshmem's BAR 2 is memory: what its accesses cost is VFIO's part alone. */
const MEMORY = { role: 'ivshmem', region: 2, offset: 0 };

for (const width of [8, 16, 32, 64] as const) {
  bench(
    `device.bar.rw-${width}`,
    `pread and pwrite of ${width} bits of a BAR that is memory`,
    { device: MEMORY.role, operations, parameters: { width } },
    ({ device }, measure) => {
      enableDevice(device);
      measurePositioned(measure, device, MEMORY.region, MEMORY.offset, width / 8);
    },
  );

  bench(
    `device.bar.mapped-${width}`,
    `load and store of ${width} bits of a mapped BAR that is memory`,
    { device: MEMORY.role, operations: ['load', 'store'], parameters: { width } },
    ({ device, map }, measure) => {
      enableDevice(device);
      const { address } = map(device.region(MEMORY.region));
      measure((program, timed) => {
        timed('load', program.load(width, address));
        timed('store', program.store(width, address, 0));
      });
    },
  );
}

for (const bytes of [4096, 65536]) {
  bench(
    `device.bar.rw-block-${bytes}`,
    `pread and pwrite of ${bytes} bytes of a BAR that is memory`,
    { device: MEMORY.role, operations, units: { bytes } },
    ({ device }, measure) => {
      enableDevice(device);
      measurePositioned(measure, device, MEMORY.region, MEMORY.offset, bytes);
    },
  );
}

bench(
  'device.register.rw-32',
  'pread and pwrite of a register of a device',
  { device: 'e1000e', operations, parameters: { width: 32 } },
  ({ device, role }, measure) => {
    enableDevice(device);
    const { region, offset } = scratchRegisters(role);
    measurePositioned(measure, device, region, offset, 4);
  },
);

bench(
  'device.register.mapped-32',
  'load and store of a mapped register of a device',
  { device: 'e1000e', operations: ['load', 'store'], parameters: { width: 32 } },
  ({ device, role, map }, measure) => {
    enableDevice(device);
    const { region, offset } = scratchRegisters(role);
    const address = map(device.region(region)).address + BigInt(offset);
    measure((program, timed) => {
      timed('load', program.load(32, address));
      timed('store', program.store(32, address, 0));
    });
  },
);

bench(
  'device.bar.map',
  'mapping a BAR, touching it first, and unmapping it',
  { device: MEMORY.role, operations: ['mmap', 'touch', 'munmap'] },
  ({ device }, measure) => {
    enableDevice(device);
    const { info, size } = device.region(MEMORY.region);
    measure((program, timed) => {
      const area = program.syscall(
        'mmap',
        0,
        size,
        PROT_READ | PROT_WRITE,
        MAP_SHARED,
        device.fd,
        info.offset,
      );
      timed('mmap', area);
      timed('touch', program.load(32, area));
      timed('munmap', program.syscall('munmap', area, size));
    });
  },
);
