/** What was executed, for people: decoded lines, and a C program that does it again. */
export { decodeRuns } from './decode.ts';
export { meaningsOf } from './ioctls.ts';
export { renderReproducer, type ReproducerOptions } from './reproducer/reproducer.ts';
