/**
 * Hooks for React 18 and newer: an item or a group of a stream, followed for as long as a component shows it. Types: react.d.ts.
 *
 *     <StreamProvider client={connect("/")}> ... const { value } = useStreamItem("orderStatus", "orders", "o-1");
 */

import { createContext, createElement, useContext, useMemo, useSyncExternalStore } from "react";

const Context = createContext(/** @type {any} */ (null));

/** @type {typeof import("./react.d.ts").StreamProvider} */
export const StreamProvider = ({ client, children }) => createElement(Context.Provider, { value: client }, children);

/** @type {typeof import("./react.d.ts").useStreamItem} */
export const useStreamItem = (stream, group, id, options) => {
  const client = useClient(options);
  const idle = group == null || id == null;
  const follow = () => client.item(stream, group, id);
  return useStore(useMemo(() => store(idle ? undefined : follow), [client, stream, group, id, idle]));
};

/** @type {typeof import("./react.d.ts").useStreamGroup} */
export const useStreamGroup = (stream, group, options) => {
  const client = useClient(options);
  const idle = group == null;
  const follow = () => client.group(stream, group);
  return useStore(useMemo(() => store(idle ? undefined : follow), [client, stream, group, idle]));
};

/** @param {any} options */
function useClient(options) {
  const around = useContext(Context);
  const client = options?.client ?? around;
  if (client !== null) return client;
  throw new Error("motia-stream: there is no client; put <StreamProvider client={client}> around, or pass { client }");
}

/** @param {ReturnType<typeof store>} followed @returns {any} */
function useStore({ subscribe, snapshot }) {
  return useSyncExternalStore(subscribe, snapshot, snapshot);
}

const NOTHING = Object.freeze({ value: undefined, live: false, error: undefined });

/**
 * As `useSyncExternalStore` wants it: followed from the first `subscribe` to the end of the last, and the same snapshot until something changes.
 *
 * @param {(() => any) | undefined} follow
 */
function store(follow) {
  /** @type {any} */
  let subscription;
  let snapshot = NOTHING;
  let users = 0;
  const look = () => {
    const { value, live, error } = subscription;
    snapshot = Object.freeze({ value, live, error });
  };
  return {
    snapshot: () => snapshot,
    /** @param {() => void} changed */
    subscribe(changed) {
      if (follow === undefined) return () => {};
      if (users++ === 0) {
        subscription = follow();
        subscription.subscribe(look);
        look();
      }
      const off = subscription.subscribe(changed);
      return () => {
        off();
        if (--users === 0) subscription.close();
      };
    },
  };
}
