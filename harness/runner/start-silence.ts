/**
 * Milliseconds, before scaling, that may pass without a word of a session that starts: longer than a
 * target itself waits for a boot, whose end then says more than this silence.
 */
export const START_SILENCE_MS = 510_000;
