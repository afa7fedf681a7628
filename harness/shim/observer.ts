/** Who is told of every run: the liar first (it may alter what is seen), then the recorder. */
import { tellLiar } from './liar.ts';
import type { ProgramMemory } from './program-memory.ts';
import { recorder } from './recorder.ts';

/** To be handed to afterRun(): what the arena held before the run, if anybody will ask. */
export function beforeRun(program: ProgramMemory): Buffer | null {
  return recorder.recording ? program.copyArena() : null;
}

export function afterRun(program: ProgramMemory, where: string, arenaBefore: Buffer | null): void {
  tellLiar(program);
  if (arenaBefore !== null) recorder.record(program, where, arenaBefore);
}
