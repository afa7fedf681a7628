/** What the files of a lane, one of the guests that run side by side, have in their names: `console-1.log`. */
export function laneSuffix(lane = 0): string {
  return lane > 0 ? `-${lane}` : '';
}
