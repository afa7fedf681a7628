import { useEffect, useRef } from 'preact/hooks';

/** Keys that work wherever the focus is, but not while something is typed; Escape works there too. */
export function useShortcuts(actions: Record<string, () => void>): void {
  const latest = useRef(actions);
  latest.current = actions;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLInputElement && event.target.type === 'search';
      const action = latest.current[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      if (typing && event.key !== 'Escape') return;
      event.preventDefault();
      action();
    };
    addEventListener('keydown', listen);
    return () => removeEventListener('keydown', listen);
  }, []);
}
