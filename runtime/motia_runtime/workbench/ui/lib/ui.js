// What every module of the front end builds with: preact, its hooks, and `html` templates. Templates make text of whatever is put into them.

import { createElement, Fragment, render } from "../vendor/preact.mjs";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/hooks.mjs";
import htm from "../vendor/htm.mjs";

export const html = htm.bind(createElement);
export { Fragment, render, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState };

/**
 * A value that components follow. Lives as long as the page.
 * @template T
 */
export class Store {
  /** @param {T} value */
  constructor(value) {
    this.value = value;
    /** @type {Set<() => void>} */
    this.listeners = new Set();
  }

  /** @param {T} value */
  set(value) {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const listener of [...this.listeners]) listener();
  }

  /** @param {() => void} listener */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/**
 * The store's value; the component is drawn again when it changes.
 * @template T
 * @param {Store<T>} store
 * @returns {T}
 */
export function useStore(store) {
  const [, draw] = useState(0);
  useLayoutEffect(() => {
    const seen = store.value;
    const stop = store.subscribe(() => draw((count) => count + 1));
    if (!Object.is(seen, store.value)) draw((count) => count + 1);
    return () => void stop();
  }, [store]);
  return store.value;
}

/** Whether the event comes from something that takes typed text. */
export function isTyping(event) {
  const target = event.target;
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;
}
