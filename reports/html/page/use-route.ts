import { useEffect, useRef, useState } from 'preact/hooks';
import { formatRoute, parseRoute, type Route } from './route.ts';

export interface Navigation {
  route: Route;
  /** Goes somewhere else, so that "back" leads here again. */
  go(route: Route): void;
  /** Changes filters or choices; that is no step to go back over. */
  choose(params: Record<string, string>): void;
}

/** The route of the page's address, and the ways to change it. */
export function useRoute(start: string): Navigation {
  const [route, setRoute] = useState(() => parseRoute(location.hash || start));
  // Two keys may come before the page is drawn again: the second must not undo the first.
  const latest = useRef(route);
  const show = (next: Route) => {
    latest.current = next;
    setRoute(next);
  };
  useEffect(() => {
    const follow = () => show(parseRoute(location.hash));
    addEventListener('hashchange', follow);
    addEventListener('popstate', follow);
    return () => {
      removeEventListener('hashchange', follow);
      removeEventListener('popstate', follow);
    };
  }, []);
  return {
    route,
    go: (next) => {
      history.pushState(null, '', formatRoute(next));
      show(next);
    },
    choose: (params) => {
      const next = { ...latest.current, params: { ...latest.current.params, ...params } };
      history.replaceState(null, '', formatRoute(next));
      show(next);
    },
  };
}
