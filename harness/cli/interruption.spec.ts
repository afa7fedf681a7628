import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { interruption } from './interruption.ts';

const exit = vi.spyOn(process, 'exit').mockImplementation(() => undefined as never);
beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  exit.mockClear();
});

it('the first signal asks for an end, the second one ends', () => {
  const { signal, release } = interruption(() => undefined);
  process.emit('SIGINT', 'SIGINT');
  expect(signal.reason).toBe('SIGINT');
  vi.advanceTimersByTime(2000);
  expect(exit).not.toHaveBeenCalled();
  process.emit('SIGTERM', 'SIGTERM');
  expect(exit).toHaveBeenCalledWith(130);
  release();
});

it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const)('%s asks for an end', (name) => {
  const { signal, release } = interruption(() => undefined);
  process.emit(name, name);
  expect(signal.reason).toBe(name);
  release();
  expect(process.listenerCount(name)).toBe(0);
});

it('what comes from the terminal, and from npm again, is one signal', () => {
  const { release } = interruption(() => undefined);
  process.emit('SIGINT', 'SIGINT');
  process.emit('SIGINT', 'SIGINT');
  expect(exit).not.toHaveBeenCalled();
  release();
});
