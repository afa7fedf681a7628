import {
  ConfigPair,
  OWN_MACHINE,
  coversConfig,
  expect,
  test,
  type ConfigStructure,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';

/** One row a structure: where its permissions are made, and devices that have it in different forms. */
interface Row {
  name: string;
  source: string;
  devices: string[];
  since?: string;
}

const ROWS: Row[] = [
  {
    name: 'HEADER',
    source: 'init_pci_cap_basic_perm()',
    devices: ['edu', 'pci-testdev', 'vga', 'e1000e', 'nvme'],
  },
  {
    name: 'PM',
    source: 'init_pci_cap_pm_perm()',
    devices: ['e1000e', 'igb', 'nvme', 'virtio-net', 'i82550'],
  },
  { name: 'MSI', source: 'init_pci_cap_msi_perm()', devices: ['edu', 'e1000e', 'igb', 'vmxnet3'] },
  { name: 'MSIX', source: 'pci_cap_length[]', devices: ['e1000e', 'igb', 'nvme', 'virtio-net'] },
  {
    name: 'EXP',
    source: 'init_pci_cap_exp_perm()',
    // many-vectors: an integrated endpoint, which has no link.
    devices: ['e1000e', 'igb', 'virtio-net', 'vmxnet3', 'many-vectors'],
  },
  { name: 'VNDR', source: 'vfio_pci_init_perm_bits()', devices: ['virtio-net', 'virtio-rng'] },
  { name: 'SATA', source: 'vfio_cap_len()', devices: ['ahci'] },
  {
    name: 'ext-ERR',
    source: 'init_pci_ext_cap_err_perm()',
    devices: ['e1000e', 'igb', 'virtio-net'],
  },
  // Not e1000e: QEMU 10.0.2 clears its DSN along with the error log that it overlaps (docs/findings.md).
  { name: 'ext-DSN', source: 'pci_ext_cap_length[]', devices: ['vmxnet3'] },
  { name: 'ext-ARI', source: 'pci_ext_cap_length[]', devices: ['igb'] },
  { name: 'ext-ATS', source: 'pci_ext_cap_length[]', devices: ['virtio-net'] },
  { name: 'ext-SRIOV', source: 'pci_ext_cap_length[]', devices: ['igb'] },
];

/** Structures with bits that a write changes in the hardware. */
const PASSING = new Set(['HEADER', 'PM', 'MSI', 'EXP', 'VNDR', 'ext-ERR']);
/** Structures of the vendor's, written as they are. */
const RAW = new Set(['VNDR']);
/** Structures with bits that a write changes in the kernel's copy. */
const KEPT = new Set(['HEADER', 'MSI', 'EXP']);

const and = (a: Buffer, b: Buffer) => Buffer.from(a.map((byte, at) => byte & b[at]!));
const or = (a: Buffer, b: Buffer) => Buffer.from(a.map((byte, at) => byte | b[at]!));
const not = (a: Buffer) => Buffer.from(a.map((byte) => ~byte & 0xff));
/** `a` where the mask is 1, else `b`. */
const mix = (mask: Buffer, a: Buffer, b: Buffer) => or(and(mask, a), and(not(mask), b));

/** A structure of the test's device with the masks that belong to it, padded to whole dwords. */
function open({ device, pci, defer }: TestContext, name: string) {
  const pair = new ConfigPair(device, pci);
  defer(() => pair.close());
  const parts = pair.model.structures.filter((structure) => structure.name === name);
  expect(parts, `the device has a ${name}`).not.toEqual([]);
  return { pair, parts };
}

function sliceOf({ start, length }: ConfigStructure, bytes: Buffer): Buffer {
  return bytes.subarray(start, start + length);
}

for (const { name, source, devices, since } of ROWS) {
  const slug = name.toLowerCase();
  const common = {
    // Every MSI here has addresses of 64 bits.
    covers: coversConfig(name, ['DATA_32']),
    source: `${CONFIG} ${source}`,
    devices,
    needs: [OWN_MACHINE],
    peer: ['S1'],
    ...(since !== undefined && { since }),
  };

  test(
    `device.config.${slug}.view`,
    `${name}: bits that are not virtual follow the hardware, virtual ones do not`,
    common,
    (context) => {
      const { pair, parts } = open(context, name);
      const { view, hardware, model, hardwareTriggers } = pair;
      for (const part of parts) {
        const virtual = sliceOf(part, model.virtual);
        const keep = sliceOf(part, hardwareTriggers);
        const before = hardware.read(part.start, part.length);
        const shown = view.read(part.start, part.length);
        expect(and(not(virtual), shown)).toEqual(and(not(virtual), before));
        hardware.write(part.start, mix(keep, before, not(before)));
        const changed = hardware.read(part.start, part.length);
        const shownNow = view.read(part.start, part.length);
        hardware.write(part.start, before);
        expect(shownNow).toEqual(mix(virtual, shown, changed));
        expect(view.read(part.start, part.length)).toEqual(shown);
      }
    },
  );

  if (!RAW.has(name))
    test(
      `device.config.${slug}.protected`,
      `${name}: no write changes what its permissions do not release, in the hardware or in the copy`,
      common,
      (context) => {
        const { pair, parts } = open(context, name);
        const { view, hardware, model, triggers } = pair;
        for (const part of parts) {
          const { start, length } = part;
          const virtual = sliceOf(part, model.virtual);
          const writable = sliceOf(part, model.writable);
          const released = or(and(writable, not(virtual)), sliceOf(part, triggers));
          const before = hardware.readAll();
          const shown = view.readAll();
          const value = mix(released, sliceOf(part, before), not(sliceOf(part, before)));
          for (const width of [1, 2, 4, length]) {
            for (let at = 0; at + width <= length; at += width) {
              view.write(start + at, value.subarray(at, at + width));
            }
            const now = hardware.read(start, length);
            expect(now, `after writes of ${width} bytes`).toEqual(sliceOf(part, before));
          }
          expect(hardware.readAll(), 'nothing around it either').toEqual(before);
          const fixed = not(writable);
          expect(and(fixed, view.read(start, length))).toEqual(and(fixed, sliceOf(part, shown)));
          view.write(start, sliceOf(part, shown));
          expect(view.readAll()).toEqual(shown);
        }
      },
    );

  if (PASSING.has(name)) {
    test(
      `device.config.${slug}.pass-through`,
      `${name}: released bits reach the hardware as if written there directly, others beside them do not`,
      common,
      (context) => {
        const { pair, parts } = open(context, name);
        const { view, hardware, model, triggers } = pair;
        for (const part of parts) {
          const { start, length } = part;
          const raw = part.access === 'raw';
          const keep = sliceOf(part, triggers);
          const real = not(sliceOf(part, model.virtual));
          const released = raw
            ? Buffer.alloc(length, 0xff)
            : and(sliceOf(part, model.writable), not(sliceOf(part, model.virtual)));
          const passing = and(released, not(keep));
          const before = hardware.read(start, length);
          const shown = view.read(start, length);
          for (const pattern of raw ? [0xff, 0x5a] : [0xff, 0x00, 0xa5, 0x5a]) {
            const bytes = Buffer.alloc(length, pattern);
            const direct = mix(passing, bytes, before);
            const throughVfio = mix(passing, bytes, mix(keep, before, not(before)));
            for (const width of raw ? [4, 1] : [4, 2, 1]) {
              for (let at = 0; at + width <= length; at += width) {
                if (passing.subarray(at, at + width).every((bits) => bits === 0)) continue;
                hardware.write(start + at, direct.subarray(at, at + width));
                const wanted = hardware.read(start, length);
                hardware.write(start, before);
                view.write(start + at, throughVfio.subarray(at, at + width));
                const got = hardware.read(start, length);
                const shownThen = view.read(start, length);
                hardware.write(start, before);
                const what = `${width} bytes of 0x${pattern.toString(16)} at ${at}`;
                expect(got, what).toEqual(wanted);
                expect(and(real, shownThen), `shown after ${what}`).toEqual(and(real, wanted));
              }
            }
          }
          if (!raw) view.write(start, shown);
          expect(hardware.read(start, length)).toEqual(before);
        }
      },
    );
  }

  if (KEPT.has(name)) {
    test(
      `device.config.${slug}.virtual`,
      `${name}: virtual writable bits read back as written and do not reach the hardware`,
      common,
      (context) => {
        const { pair, parts } = open(context, name);
        const { view, hardware, triggers } = pair;
        for (const part of parts) {
          const before = hardware.read(part.start, part.length);
          for (const { name: register, offset, width, virtual, writable } of part.registers) {
            const at = part.start + offset;
            // The address registers answer like hardware: tests of their own.
            if (register.startsWith('BASE_ADDRESS') || register === 'ROM_ADDRESS') continue;
            const bits = (virtual & writable & ~triggers.readUIntLE(at, width)) >>> 0;
            if (bits === 0) continue;
            const read = () => view.read(at, width).readUIntLE(0, width);
            const first = read();
            for (const pattern of [0xffff_ffff, 0, 0x5a5a_5a5a, 0xa5a5_a5a5, first]) {
              const value = ((pattern & bits) | (first & ~bits)) >>> 0;
              const bytes = Buffer.alloc(width);
              bytes.writeUIntLE(value, 0, width);
              view.write(at, bytes);
              expect(read(), `${register} after ${value.toString(16)}`).toBe(value);
              expect(hardware.read(part.start, part.length), register).toEqual(before);
            }
          }
        }
      },
    );
  }
}
