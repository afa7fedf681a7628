/**
 * Imports run one way (docs/architecture.md): the supervising side never loads what runs in the
 * target, nor the other way round; what both know is harness/protocol.
 */
const SUPERVISING_LAYERS = ['harness/cli', 'harness/runner', 'reports', 'harness/target'];
const EXECUTING_LAYERS = [
  'harness/worker',
  'harness/audit',
  'suites',
  'harness/testing',
  'harness/fuzz',
  'harness/devices',
  'harness/vfio',
  'harness/pci',
  'harness/kernel',
  'harness/trace',
  'harness/shim',
  'harness/abi',
];

const within = (folders) => `^(${folders.join('|')})/`;
const SUPERVISING = within(SUPERVISING_LAYERS);
const EXECUTING = within(EXECUTING_LAYERS);

/** Each layer may import those that come after it, and none before. */
function oneWay(layers) {
  return layers.slice(1).map((layer, index) => ({
    name: `nothing-above-${layer}`,
    severity: 'error',
    from: { path: within([layer]) },
    to: { path: within(layers.slice(0, index + 1)) },
  }));
}

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
    ...oneWay(EXECUTING_LAYERS),
    ...oneWay(SUPERVISING_LAYERS),
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
