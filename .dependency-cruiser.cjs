/**
 * Imports run one way (docs/architecture.md): the supervising side never loads what runs in the
 * target, nor the other way round; what both know is harness/protocol.
 */
const SUPERVISING = '^(harness/(cli|runner|target)|reports)/';
const EXECUTING =
  '^(suites|harness/(audit|worker|testing|fuzz|vfio|pci|kernel|devices|trace|abi|shim))/';

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Nor may types: what two files share stands in a third.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'supervisor-does-not-execute',
      comment: 'Nothing a kernel does may take the supervisor down.',
      severity: 'error',
      from: { path: SUPERVISING },
      to: { path: EXECUTING },
    },
    {
      name: 'worker-does-not-supervise',
      severity: 'error',
      from: { path: EXECUTING },
      to: { path: [SUPERVISING, '^setup/'] },
    },
    {
      name: 'protocol-imports-nothing',
      severity: 'error',
      from: { path: '^harness/protocol/', pathNot: '\\.spec\\.ts$' },
      to: { pathNot: '^harness/protocol/' },
    },
    {
      name: 'suites-import-only-testing',
      severity: 'error',
      from: { path: '^suites/' },
      to: { pathNot: ['^suites/', '^harness/testing/'], dependencyTypesNot: ['core'] },
    },
    {
      name: 'layers',
      comment: 'worker → suites → testing → fuzz, vfio, pci, kernel, devices, trace → abi, shim',
      severity: 'error',
      from: { path: '^harness/(fuzz|vfio|pci|kernel|devices|trace)/' },
      to: { path: '^(suites|harness/(worker|testing))/' },
    },
    {
      name: 'abi-and-shim-are-the-bottom',
      severity: 'error',
      from: { path: '^harness/(abi|shim)/' },
      to: { path: '^(suites|harness/(worker|testing|vfio|pci|kernel|devices|trace))/' },
    },
    {
      name: 'only-the-shim-loads-ffi',
      severity: 'error',
      from: { pathNot: '^harness/shim/' },
      to: { path: 'node_modules/(ffi-rs|@yuuang)/' },
    },
    {
      name: 'setup-stands-alone',
      comment: 'It runs before the npm packages are there; esbuild it loads when they are.',
      severity: 'error',
      from: { path: '^setup/', pathNot: '\\.spec\\.ts$' },
      to: { pathNot: ['^setup/', 'node_modules/esbuild/'], dependencyTypesNot: ['core'] },
    },
    {
      name: 'resolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '^virtual:suites$' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      extensions: ['.ts', '.mjs', '.js', '.cjs', '.json'],
    },
  },
};
