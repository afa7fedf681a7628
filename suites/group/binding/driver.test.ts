import {
  OWN_MACHINE,
  UNLOADABLE_VFIO_PCI,
  bindTo,
  clearOverride,
  expect,
  functionInRole,
  hasGroupNode,
  loadModule,
  test,
  tryWriteAttribute,
  unbind,
  unloadModule,
  type PciFunction,
  type TestContext,
} from '../../../harness/testing/index.ts';

const DRIVER = '/sys/bus/pci/drivers/vfio-pci';
const TABLE = 'drivers/vfio/pci/vfio_pci.c vfio_pci_table';
const FILL_IDS = 'drivers/vfio/pci/vfio_pci.c vfio_pci_fill_ids()';
const RELOAD = { needs: [OWN_MACHINE, UNLOADABLE_VFIO_PCI] };

const hex = (value: number) => value.toString(16).padStart(4, '0');

/** `vendor:device` as the module parameter `ids` wants it. */
function idOf(pci: PciFunction): string {
  return `${hex(pci.vendor)}:${hex(pci.device)}`;
}

/** Loads vfio-pci anew with parameters, and without any after the test. */
function reload({ defer }: TestContext, ...parameters: string[]): void {
  defer(() => {
    unloadModule('vfio-pci');
    loadModule('vfio-pci');
  });
  unloadModule('vfio-pci');
  loadModule('vfio-pci', ...parameters);
}

/** The function in a role without driver and override: nothing but ids can bring it to a driver. */
function left(role: string): PciFunction {
  const pci = functionInRole(role)!;
  unbind(pci);
  clearOverride(pci);
  return pci;
}

test(
  'group.driver.no-match-without-override',
  'vfio-pci takes no device that was not given to it by override or by id',
  { source: TABLE, device: 'vmxnet3', needs: [OWN_MACHINE] },
  () => {
    const pci = left('vmxnet3');
    expect(tryWriteAttribute('/sys/bus/pci/drivers_probe', pci.bdf)).toSucceed();
    expect(pci.driver).not.toBe('vfio-pci');
    unbind(pci);
    expect(tryWriteAttribute(`${DRIVER}/bind`, pci.bdf)).toFailWith('ENODEV');
    expect(pci.driver).toBe(null);
    expect(hasGroupNode(pci.group!)).toBe(false);
  },
);

test(
  'group.driver.new-id',
  'a device comes to vfio-pci by its id in new_id, and no longer after remove_id',
  { source: TABLE, device: 'vmxnet3', needs: [OWN_MACHINE] },
  ({ defer }) => {
    const pci = left('vmxnet3');
    const id = `${hex(pci.vendor)} ${hex(pci.device)}`;
    defer(() => void tryWriteAttribute(`${DRIVER}/remove_id`, id));
    expect(tryWriteAttribute(`${DRIVER}/new_id`, id)).toSucceed();
    expect(pci.driver).toBe('vfio-pci');
    expect(hasGroupNode(pci.group!)).toBe(true);
    unbind(pci);
    expect(tryWriteAttribute(`${DRIVER}/bind`, pci.bdf)).toSucceed();
    unbind(pci);
    expect(tryWriteAttribute(`${DRIVER}/remove_id`, id)).toSucceed();
    expect(tryWriteAttribute(`${DRIVER}/bind`, pci.bdf)).toFailWith('ENODEV');
    expect(pci.driver).toBe(null);
  },
);

test(
  'group.driver.ids',
  'the parameter ids gives devices to vfio-pci: several, separated by commas',
  { source: FILL_IDS, device: 'vmxnet3', uses: ['pci-testdev'], ...RELOAD },
  (context) => {
    const log = context.kernelLog();
    const [one, two] = [left('vmxnet3'), left('pci-testdev')];
    reload(context, `ids=${idOf(one)},,${idOf(two)}`);
    expect(one.driver).toBe('vfio-pci');
    expect(two.driver).toBe('vfio-pci');
    const added = log.drain().filter((line) => line.includes('vfio_pci: add ['));
    expect(added.map((line) => line.replace(/^.*add /, ''))).toEqual(
      [one, two].map((pci) => `[${idOf(pci)}[ffffffff:ffffffff]] class 0x000000/00000000`),
    );
  },
);

test(
  'group.driver.ids-narrower',
  'an id may name subsystem and class, and then devices that differ there are left alone',
  { source: FILL_IDS, device: 'vmxnet3', uses: ['pci-testdev', 'xhci'], ...RELOAD },
  (context) => {
    const [nic, testdev, xhci] = [left('vmxnet3'), left('pci-testdev'), left('xhci')];
    const any = 'ffffffff:ffffffff';
    reload(
      context,
      `ids=${idOf(nic)}:${any}:020000:ffff00,${idOf(testdev)}:dead:beef,${idOf(xhci)}:${any}:020000:ffff00`,
    );
    expect(nic.driver).toBe('vfio-pci');
    expect(testdev.driver).toBe(null);
    expect(xhci.driver).not.toBe('vfio-pci');
  },
);

test(
  'group.driver.ids-invalid',
  'what is no id in the parameter ids is reported and the others count',
  { source: FILL_IDS, device: 'vmxnet3', ...RELOAD },
  (context) => {
    const log = context.kernelLog();
    const pci = left('vmxnet3');
    reload(context, `ids=nonsense,15ad,${idOf(pci)}`);
    expect(pci.driver).toBe('vfio-pci');
    const invalid = log.drain().filter((line) => line.includes('invalid id string'));
    expect(invalid.map((line) => line.replace(/^.*invalid/, 'invalid'))).toEqual([
      'invalid id string "nonsense"',
      'invalid id string "15ad"',
    ]);
  },
);

test(
  'group.driver.unload',
  'unloading vfio-pci leaves its devices without a driver and without nodes',
  { source: 'drivers/vfio/pci/vfio_pci.c vfio_pci_cleanup()', device: 'edu', ...RELOAD },
  (context) => {
    const { pci, defer } = context;
    const group = pci.group!;
    expect(hasGroupNode(group)).toBe(true);
    defer(() => loadModule('vfio-pci'));
    unloadModule('vfio-pci');
    expect(pci.driver).toBe(null);
    expect(hasGroupNode(group)).toBe(false);
    loadModule('vfio-pci');
    bindTo(pci, 'vfio-pci');
    expect(hasGroupNode(group)).toBe(true);
  },
);
