import {
  OWN_MACHINE,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_TYPE1v2_IOMMU,
  bindAnew,
  bindTo,
  expect,
  makeVirtualFunctions,
  test,
  tryHalfFeature,
  trySetVfs,
  type Answer,
  type Device,
  type Group,
  type PciFunction,
  type TestContext,
} from '../../../harness/testing/index.ts';

const MATCH = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_match()';
const VALIDATE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_validate_vf_token()';
const SOURCE = [MATCH, VALIDATE];
const TOKEN = '52ac9bff-3a88-4fbd-901a-0d767c3b6c97';
const OTHER = '52ac9bff-3a88-4fbd-901a-0d767c3b6c98';
const NEEDS = { device: 'igb', needs: [OWN_MACHINE], source: SOURCE };

/** A PF on vfio-pci with VFs on vfio-pci, and all their groups in one container. */
interface PfWithVfs {
  pf: PciFunction;
  vfs: PciFunction[];
  /** GET_DEVICE_FD with a token, or without one. */
  tryOpen(pci: PciFunction, token?: string): Answer<Device | null>;
  open(pci: PciFunction, token?: string): Device;
}

function pfWithVfs(context: TestContext, count = 1): PfWithVfs {
  const { pci: pf, defer, emptyContainer, openFreshGroup } = context;
  // A new binding has a new, random token.
  bindAnew(pf, 'vfio-pci');
  const vfs = makeVirtualFunctions(context, count);
  for (const vf of vfs) bindTo(vf, 'vfio-pci');
  const container = emptyContainer();
  const groups = new Map<string, Group>();
  for (const pci of [pf, ...vfs]) {
    if (groups.has(pci.group!)) continue;
    const group = openFreshGroup(pci.group!);
    group.setContainer(container);
    groups.set(pci.group!, group);
  }
  container.setIommu(VFIO_TYPE1v2_IOMMU);
  const tryOpen = (pci: PciFunction, token?: string) => {
    const name = token === undefined ? pci.bdf : `${pci.bdf} vf_token=${token}`;
    const answer = groups.get(pci.group!)!.tryGetDevice(name);
    if (answer.value) {
      const device = answer.value;
      defer(() => device.close());
    }
    return answer;
  };
  return { pf, vfs, tryOpen, open: (pci, token) => tryOpen(pci, token).get()! };
}

/** The 16 bytes of a UUID as written. */
function bytesOf(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex');
}

for (const [name, token] of [
  ['mixed', TOKEN],
  ['zeros', '00000000-0000-0000-0000-000000000000'],
  ['ones', 'ffffffff-ffff-ffff-ffff-ffffffffffff'],
] as const) {
  test(
    `group.vf-token.match.${name}`,
    'a VF of a PF on vfio-pci is opened with the token of the PF only',
    { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EACCES')], peer: ['S29'], ...NEEDS },
    (context) => {
      const { pf, vfs, tryOpen, open } = pfWithVfs(context);
      const [vf] = vfs as [PciFunction];
      open(pf, token);
      expect(tryOpen(vf)).toFailWith('EACCES');
      expect(tryOpen(vf, OTHER)).toFailWith('EACCES');
      expect(open(vf, token).info().num_regions).toBeGreaterThan(0);
    },
  );
}

test(
  'group.vf-token.every-digit',
  'each digit of a token counts, and upper case is as good as lower case',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EACCES')], peer: ['S29'], ...NEEDS },
  (context) => {
    const { pf, vfs, tryOpen, open } = pfWithVfs(context);
    const [vf] = vfs as [PciFunction];
    open(pf, TOKEN);
    for (let digit = 0; digit < TOKEN.length; digit++) {
      if (TOKEN[digit] === '-') continue;
      const other = TOKEN[digit] === '0' ? '1' : '0';
      const wrong = TOKEN.slice(0, digit) + other + TOKEN.slice(digit + 1);
      expect(tryOpen(vf, wrong)).toFailWith('EACCES');
    }
    open(vf, TOKEN.toUpperCase());
  },
);

test(
  'group.vf-token.unknown',
  'without a token that a user has set, no VF can be opened',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EACCES')], ...NEEDS },
  (context) => {
    const { pf, vfs, tryOpen, open } = pfWithVfs(context);
    const [vf] = vfs as [PciFunction];
    // The token of a fresh PF is random.
    for (const token of [undefined, TOKEN, '00000000-0000-0000-0000-000000000000']) {
      expect(tryOpen(vf, token)).toFailWith('EACCES');
    }
    open(pf).close();
    expect(tryOpen(vf, TOKEN)).toFailWith('EACCES');
  },
);

test(
  'group.vf-token.malformed',
  'a token that is no UUID is refused as such, also by a VF',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EINVAL')], ...NEEDS },
  (context) => {
    const { pf, vfs, tryOpen } = pfWithVfs(context);
    for (const pci of [pf, vfs[0]!]) {
      for (const token of ['', 'x', TOKEN.slice(1), TOKEN.replace('-', '_'), `${TOKEN}0`]) {
        expect(tryOpen(pci, token)).toFailWith('EINVAL');
      }
    }
  },
);

test(
  'group.vf-token.pf-closed',
  'the token stays with the PF when the PF is closed',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EACCES')], peer: ['S30'], ...NEEDS },
  (context) => {
    const { pf, vfs, tryOpen, open } = pfWithVfs(context);
    const [vf] = vfs as [PciFunction];
    open(pf, TOKEN).close();
    expect(tryOpen(vf)).toFailWith('EACCES');
    expect(tryOpen(vf, OTHER)).toFailWith('EACCES');
    open(vf, TOKEN);
  },
);

test(
  'group.vf-token.replaced-by-open',
  'while no VF is in use, the PF is opened with any token, which is the one that counts from then on',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EACCES')], peer: ['S31'], ...NEEDS },
  (context) => {
    const { pf, vfs, tryOpen, open } = pfWithVfs(context);
    const [vf] = vfs as [PciFunction];
    open(pf, TOKEN).close();
    open(pf).close();
    open(vf, TOKEN).close();
    open(pf, OTHER).close();
    expect(tryOpen(vf, TOKEN)).toFailWith('EACCES');
    open(vf, OTHER);
  },
);

test(
  'group.vf-token.replaced-by-feature',
  'DEVICE_FEATURE sets a new token of the PF, and the old one opens no VF any more',
  {
    covers: [VFIO_DEVICE_FEATURE, VFIO_GROUP_GET_DEVICE_FD.fails('EACCES')],
    peer: ['S31'],
    ...NEEDS,
    source: [...SOURCE, 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_feature_token()'],
  },
  (context) => {
    const { pf, vfs, tryOpen, open } = pfWithVfs(context);
    const [vf] = vfs as [PciFunction];
    const device = open(pf, TOKEN);
    const inUse = open(vf, TOKEN);
    const set = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN;
    expect(device.tryFeature(set, bytesOf(OTHER))).toSucceed(0);
    expect(tryOpen(vf, TOKEN)).toFailWith('EACCES');
    expect(tryOpen(pf, TOKEN)).toFailWith('EACCES');
    open(vf, OTHER);
    open(pf, OTHER);
    expect(inUse.info().num_regions).toBeGreaterThan(0);
  },
);

test(
  'group.vf-token.half-token',
  'a new token of which only the beginning can be read is refused, and the old one still counts',
  {
    covers: [VFIO_DEVICE_FEATURE.fails('EFAULT')],
    ...NEEDS,
    source: [...SOURCE, 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_feature_token()'],
  },
  (context) => {
    const { pf, vfs, tryOpen, open } = pfWithVfs(context);
    const [vf] = vfs as [PciFunction];
    const device = open(pf, TOKEN);
    const set = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN;
    for (const readable of [0, 8, 15]) {
      expect(tryHalfFeature(context, device, set, bytesOf(OTHER), readable)).toFailWith('EFAULT');
    }
    expect(tryOpen(vf, OTHER)).toFailWith('EACCES');
    open(vf, TOKEN);
  },
);

test(
  'group.vf-token.pf-while-vf-in-use',
  'while a VF is in use, the PF is opened with the same token only, until the last VF is closed',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EACCES')], ...NEEDS },
  (context) => {
    const { pf, vfs, tryOpen, open } = pfWithVfs(context, 2);
    const [one, two] = vfs as [PciFunction, PciFunction];
    open(pf, TOKEN).close();
    const first = open(one, TOKEN);
    const again = open(one, TOKEN);
    const second = open(two, TOKEN);
    const refused = () => {
      expect(tryOpen(pf)).toFailWith('EACCES');
      expect(tryOpen(pf, OTHER)).toFailWith('EACCES');
    };
    refused();
    open(pf, TOKEN).close();
    first.close();
    refused();
    again.close();
    refused();
    second.close();
    open(pf).close();
    open(pf, OTHER).close();
    expect(tryOpen(one, TOKEN)).toFailWith('EACCES');
  },
);

test(
  'group.vf-token.failed-attempts',
  'an attempt with a wrong token changes nothing and counts nobody as a user',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EACCES')], ...NEEDS },
  (context) => {
    const { pf, vfs, tryOpen, open } = pfWithVfs(context);
    const [vf] = vfs as [PciFunction];
    open(pf, TOKEN).close();
    for (let again = 0; again < 5; again++) expect(tryOpen(vf, OTHER)).toFailWith('EACCES');
    open(vf, TOKEN).close();
    // No VF is in use: the PF needs no token.
    open(pf).close();
    expect(trySetVfs(pf, 0)).toSucceed();
  },
);

test(
  'group.vf-token.fresh-after-unbind',
  'a token does not outlive the binding of the PF',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EACCES')], ...NEEDS },
  (context) => {
    const { pci: pf, openGroup, container } = context;
    expect(container.fd).toBeGreaterThanOrEqual(0);
    const group = openGroup();
    group.getDevice(`${pf.bdf} vf_token=${TOKEN}`).close();
    group.close();
    const { vfs, tryOpen } = pfWithVfs(context);
    expect(tryOpen(vfs[0]!, TOKEN)).toFailWith('EACCES');
  },
);

test(
  'group.vf-token.own-pf',
  'of two PFs with VFs each has a token of its own, which opens its own VFs only',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EACCES')],
    ...NEEDS,
    source: [...SOURCE, 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_vf_init()'],
    uses: ['igb-multi-0'],
  },
  (context) => {
    const { pci, bound, defer, openFreshGroup, emptyContainer } = context;
    const container = emptyContainer();
    const pairs = [pci, bound('igb-multi-0')].map((pf, index) => {
      bindAnew(pf, 'vfio-pci');
      const [vf] = makeVirtualFunctions({ pci: pf, defer }) as [PciFunction];
      bindTo(vf, 'vfio-pci');
      const groups = [pf, vf].map((one) => openFreshGroup(one.group!));
      for (const group of groups) group.setContainer(container);
      return { pf, vf, groups, token: [TOKEN, OTHER][index]! };
    });
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    for (const { pf, groups, token } of pairs) {
      context.openDevice(groups[0]!, `${pf.bdf} vf_token=${token}`).close();
    }
    for (const { vf, groups, token } of pairs) {
      const wrong = groups[1]!.tryGetDevice(
        `${vf.bdf} vf_token=${token === TOKEN ? OTHER : TOKEN}`,
      );
      // An open VF would keep the test from ever taking it away again.
      wrong.value?.close();
      expect(wrong).toFailWith('EACCES');
      context.openDevice(groups[1]!, `${vf.bdf} vf_token=${token}`).close();
    }
  },
);
