import {
  Irqs,
  RESET_METHOD,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_RESET,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  deviceDisIntx,
  expect,
  lineDriver,
  setDisIntx,
  test,
  tryHotReset,
  userDisIntx,
  type Eventfd,
  type MappedInterruptDevice,
  type TestContext,
} from '../../harness/testing/index.ts';

const CORE = 'drivers/vfio/pci/vfio_pci_core.c';
/** A device whose own reset goes through D3hot, and one that is reset with its bus. */
const DEVICES = ['e1000e', 'edu-rp'];

const WAYS = [
  {
    way: 'reset',
    common: {
      covers: [VFIO_DEVICE_RESET],
      source: `${CORE} vfio_pci_ioctl_reset()`,
      devices: DEVICES,
      needs: [RESET_METHOD],
    },
    reset: ({ device }: TestContext) => expect(device.tryReset()).toSucceed(0),
  },
  {
    way: 'hot-reset',
    common: {
      covers: [VFIO_DEVICE_PCI_HOT_RESET],
      source: `${CORE} vfio_pci_dev_set_hot_reset()`,
      devices: DEVICES,
    },
    reset: ({ device, group }: TestContext) => expect(tryHotReset(device, [group.fd])).toSucceed(0),
  },
];

interface Line {
  t: TestContext;
  intx: Irqs;
  signal: Eventfd;
  driver: MappedInterruptDevice;
}

/** What holds INTx back, and what lets it through again. */
const HOLDS: { by: string; hold(line: Line): void; release(line: Line): void }[] = [
  { by: 'mask', hold: ({ intx }) => intx.mask(), release: ({ intx }) => intx.unmask() },
  {
    by: 'automask',
    hold: ({ signal, driver }) => {
      driver.raise();
      expect(signal.soon()).toBe(1);
      driver.acknowledge();
    },
    release: ({ intx }) => intx.unmask(),
  },
  {
    by: 'disintx',
    hold: ({ t }) => setDisIntx(t.device, true),
    release: ({ t }) => setDisIntx(t.device, false),
  },
];

function enabledLine(t: TestContext): Line {
  const driver = lineDriver(t);
  const signal = t.eventfd();
  const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
  intx.enable([signal]);
  return { t, intx, signal, driver };
}

for (const { way, common, reset } of WAYS) {
  test(
    `irq.intx.${way}`,
    `INTx that is not masked before a ${way} signals its eventfd after it`,
    common,
    (t) => {
      const { intx, signal, driver } = enabledLine(t);
      for (let round = 0; round < 2; round++) {
        reset(t);
        expect(signal.quiet(), 'a reset interrupts nobody').toBe(0);
        expect([userDisIntx(t.device), deviceDisIntx(t.pci)]).toEqual([false, false]);
        driver.raise();
        expect(signal.soon(), `round ${round}`).toBe(1);
        driver.acknowledge();
        intx.unmask();
      }
    },
  );

  for (const { by, hold, release } of HOLDS) {
    test(
      `irq.intx.${way}.${by}`,
      `INTx that is held back by ${by} before a ${way} is held back after it, until it is let through`,
      common,
      (t) => {
        const line = enabledLine(t);
        const { signal, driver } = line;
        hold(line);
        for (let round = 0; round < 2; round++) {
          reset(t);
          expect([userDisIntx(t.device), deviceDisIntx(t.pci)]).toEqual([by === 'disintx', true]);
        }
        driver.raise();
        expect(signal.quiet(), 'held back still').toBe(0);
        release(line);
        expect(signal.soon()).toBe(1);
        driver.acknowledge();
      },
    );
  }

  test(`irq.msi.${way}`, `MSI that is set up before a ${way} works after it`, common, (t) => {
    const driver = lineDriver(t);
    const signal = t.eventfd();
    new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX).enable([signal]);
    for (let round = 0; round < 2; round++) {
      reset(t);
      expect(signal.quiet(), 'a reset interrupts nobody').toBe(0);
      driver.raise();
      // Throttling timers of the e1000e may add one.
      expect(signal.soon(), `round ${round}`).toBeGreaterThanOrEqual(1);
      driver.acknowledge();
      signal.quiet();
    }
  });
}
