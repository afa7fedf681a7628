import {
  KernelErrors,
  PCI_ERR_UNC_COMP_ABORT,
  Recoveries,
  expect,
  type PciFunction,
  type TestContext,
} from '../../harness/testing/index.ts';

/** Makes a function report a non-fatal error with each call, which returns when everybody has been told. */
export function nonFatalReporter(context: TestContext, pci: PciFunction = context.pci): () => void {
  const recoveries = new Recoveries(context);
  const errors = new KernelErrors(context, pci);
  return () => {
    errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('successful');
  };
}
