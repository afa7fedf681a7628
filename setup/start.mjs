import { runCommand } from './command.mjs';
import { exitWith } from './failure.mjs';

/** `npm start [-- ARGS]`: sets up what is missing and executes `vfio-conformance run ARGS`. */
await exitWith(() => runCommand(['run', ...process.argv.slice(2)]));
