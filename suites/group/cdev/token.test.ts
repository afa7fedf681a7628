import {
  CDEV,
  CdevDevice,
  OWN_MACHINE,
  VFIO_DEVICE_BIND_FLAG_TOKEN,
  VFIO_DEVICE_BIND_IOMMUFD,
  bindAnew,
  bindTo,
  expect,
  makeVirtualFunctions,
  test,
  type Answer,
  type PciFunction,
  type TestContext,
} from '../../../harness/testing/index.ts';

const TOKEN = '52ac9bff-3a88-4fbd-901a-0d767c3b6c97';
const OTHER = '52ac9bff-3a88-4fbd-901a-0d767c3b6c98';
const OPTIONS = {
  covers: [
    VFIO_DEVICE_BIND_IOMMUFD.flag('VFIO_DEVICE_BIND_FLAG_TOKEN'),
    VFIO_DEVICE_BIND_IOMMUFD.fails('EACCES'),
  ],
  source: [
    'drivers/vfio/device_cdev.c vfio_df_check_token()',
    'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_match_token_uuid()',
  ],
  device: 'igb',
  needs: [CDEV, OWN_MACHINE],
  since: '6.18',
};

/** A PF on vfio-pci with one VF on vfio-pci, and how to open and bind either through its node. */
function pfWithVf(context: TestContext): {
  pf: PciFunction;
  vf: PciFunction;
  tryBind: (pci: PciFunction, token?: string) => Answer<CdevDevice>;
} {
  const { pci: pf, defer, iommufd, memory } = context;
  // A new binding has a new, random token.
  bindAnew(pf, 'vfio-pci');
  const [vf] = makeVirtualFunctions(context) as [PciFunction];
  bindTo(vf, 'vfio-pci');
  const io = iommufd();
  const uuid = memory({ size: 4096, kind: '4k' });
  const tryBind = (pci: PciFunction, token?: string) => {
    const device = CdevDevice.tryOpen(pci).get()!;
    defer(() => device.close());
    if (token !== undefined) uuid.write(0, Buffer.from(token.replaceAll('-', ''), 'hex'));
    const answer = device.tryBind({
      iommufd: io,
      argsz: 24,
      ...(token !== undefined && { flags: VFIO_DEVICE_BIND_FLAG_TOKEN, token: uuid.address }),
    });
    return answer.with(device);
  };
  return { pf, vf, tryBind };
}

test(
  'group.cdev.token.match',
  'a VF of a PF on vfio-pci is bound with the token of the PF only',
  OPTIONS,
  (context) => {
    const { pf, vf, tryBind } = pfWithVf(context);
    for (const token of [undefined, TOKEN, '00000000-0000-0000-0000-000000000000']) {
      expect(tryBind(vf, token)).toFailWith('EACCES');
    }
    expect(tryBind(pf, TOKEN)).toSucceed(0);
    expect(tryBind(vf)).toFailWith('EACCES');
    expect(tryBind(vf, OTHER)).toFailWith('EACCES');
    expect(tryBind(vf, TOKEN).get().info().num_regions).toBeGreaterThan(0);
  },
);

test(
  'group.cdev.token.pf-while-vf-in-use',
  'while a VF is in use, its PF is bound with the same token only',
  OPTIONS,
  (context) => {
    const { pf, vf, tryBind } = pfWithVf(context);
    tryBind(pf, TOKEN).get().close();
    const used = tryBind(vf, TOKEN).get();
    expect(tryBind(pf)).toFailWith('EACCES');
    expect(tryBind(pf, OTHER)).toFailWith('EACCES');
    tryBind(pf, TOKEN).get().close();
    used.close();
    // With no VF in use the PF needs no token, and one that is given is the new one.
    tryBind(pf).get().close();
    tryBind(pf, OTHER).get().close();
    expect(tryBind(vf, TOKEN)).toFailWith('EACCES');
    expect(tryBind(vf, OTHER)).toSucceed(0);
  },
);
