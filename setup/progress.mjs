/**
 * A line of progress of the set-up. It goes to stderr: stdout belongs to the command's result.
 * @param {string} text
 */
export function progress(text) {
  process.stderr.write(`set-up: ${text}\n`);
}
