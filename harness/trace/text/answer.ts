/** What a call returned as text. */
import { errnoMessage, errnoName } from '../../abi/errno.ts';
import { reached, unfinished, type Call } from '../call.ts';
import type { OpenFd } from '../process-state.ts';
import { signatureOf } from '../signature.ts';
import type { Tracker } from '../tracker.ts';
import { fdText } from './labels.ts';
import { hex } from './values.ts';

/** Calls that took longer than this (ns) show how long. */
const SLOW = 10_000_000n;

/** Operations that read or write memory under guard. */
const GUARDED = ['load', 'store', 'copy', 'fill', 'verify', 'wait'];

export function resultText(call: Call, tracker: Tracker): string {
  const { op } = call;
  if (!reached(call)) return '? <not reached>';
  if (unfinished(call) && op.name.startsWith('exit')) return '?';
  if (unfinished(call)) return '? <unfinished ...>';
  const slow = op.end - op.start >= SLOW ? ` <${seconds(op.end - op.start)}>` : '';
  return `${answerText(call, tracker)}${slow}`;
}

function seconds(ns: bigint): string {
  return `${(Number(ns) / 1e9).toFixed(6)} s`;
}

function answerText(call: Call, tracker: Tracker): string {
  const { op } = call;
  const kind = signatureOf(op.name).result;
  if (op.result < 0n && op.result >= -4095n) {
    const errno = Number(-op.result);
    const guarded = GUARDED.includes(op.name);
    if (guarded && errnoName(errno) === 'EIO') return '-1 EIO (SIGBUS)';
    if (guarded && errnoName(errno) === 'EFAULT') return '-1 EFAULT (SIGSEGV)';
    const loops = op.name === 'repeat' ? ` after ${op.count} times` : '';
    return `-1 ${errnoName(errno)} (${errnoMessage(errno)})${loops}`;
  }
  if (op.name === 'load' || op.name === 'wait') return `${op.result} (value ${hex(op.value)})`;
  if (op.name === 'verify' && op.result > 0n) return `first difference at ${hex(op.result - 1n)}`;
  if (op.name === 'repeat') return `${op.result} (${op.count} times)`;
  if (kind === 'address') return hex(BigInt.asUintN(64, op.result));
  const opens = kind === 'fd' || tracker.ioctlOf(call)?.returns !== undefined;
  return opens ? fdText(Number(op.result), opened(call, tracker)) : String(op.result);
}

/** The fd that this call opens, as it will be known afterwards. */
function opened(call: Call, tracker: Tracker): OpenFd | undefined {
  const next = tracker.snapshot();
  next.apply(call);
  return next.fd(call.process, Number(call.op.result));
}
