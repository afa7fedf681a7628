import { parseArgs } from 'node:util';
import { exitWith, SetupError } from './failure.mjs';
import { progress } from './progress.mjs';
import { setUpAll } from './steps.mjs';

/** `npm run setup [-- --update]`: fetches and builds what is missing; with --update a newer kernel too. */
await exitWith(async () => {
  let values;
  try {
    ({ values } = parseArgs({ options: { update: { type: 'boolean', default: false } } }));
  } catch (error) {
    throw new SetupError(
      /** @type {Error} */ (error).message,
      '`npm run setup` or `npm run setup -- --update`',
    );
  }
  await setUpAll(values);
  progress('complete');
});
