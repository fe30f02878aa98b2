/** Types of react.js: hooks for React 18 and newer. */

import type { ReactElement, ReactNode } from "react";
import type { Client, Refusal, Stored } from "./motia-stream.js";

/** What a component sees of an item or a group; the same object until something changes. */
export interface Followed<V> {
  /** As it was last heard of; `undefined` before that. */
  readonly value: V | undefined;
  /** Whether `value` is what the app has: false before the first answer, and while the connection is lost. */
  readonly live: boolean;
  readonly error: Refusal | undefined;
}

export interface HookOptions {
  /** In place of the `StreamProvider`'s. */
  client?: Client<any>;
}

/** Gives a client to the hooks of all components within. Who has made the client closes it. */
export function StreamProvider(props: { client: Client<any>; children?: ReactNode }): ReactElement;

/** An item, followed for as long as the component is mounted; `value` is null when there is none. With a group or id of null nothing is followed. */
export function useStreamItem<T = any>(
  stream: string,
  group: string | null | undefined,
  id: string | null | undefined,
  options?: HookOptions,
): Followed<Stored<T> | null>;

/** The items of a group, followed for as long as the component is mounted. With a group of null nothing is followed. */
export function useStreamGroup<T = any>(
  stream: string,
  group: string | null | undefined,
  options?: HookOptions,
): Followed<readonly Stored<T>[]>;
