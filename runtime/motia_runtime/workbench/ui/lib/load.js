// What pages show of the API: loaded, and loaded again.

import { version } from "./live.js";
import { useCallback, useEffect, useRef, useState } from "./ui.js";

/**
 * Load something for as long as a component shows it. `again()` loads it anew and keeps showing what there is; an answer that comes too late is dropped. When another
 * version of the app runs, or events were missed, it is loaded anew in the same way, so that nothing that somebody types is lost.
 * @param {(signal: AbortSignal) => Promise<any>} load
 * @param {unknown[]} inputs what the answer depends on; when they change, what was shown goes
 */
export function useLoad(load, inputs) {
  const [state, set] = useState({ data: undefined, error: undefined, loading: true });
  const current = useRef({ load, abort: new AbortController() });
  current.current.load = load;
  const again = useCallback(async () => {
    const abort = new AbortController();
    current.current.abort.abort();
    current.current.abort = abort;
    try {
      const data = await current.current.load(abort.signal);
      if (!abort.signal.aborted) set({ data, error: undefined, loading: false });
    } catch (error) {
      if (!abort.signal.aborted) set((old) => ({ ...old, error, loading: false }));
    }
  }, []);
  useEffect(() => {
    set({ data: undefined, error: undefined, loading: true });
    again();
    return () => current.current.abort.abort();
  }, inputs);
  useEffect(() => version.subscribe(again), []);
  return { ...state, again };
}
