/** Types of motia-stream.js: follows the streams of a Motia app over one WebSocket. */

/** Your streams and what their items are, for `connect<{ orderStatus: OrderStatus }>(url)`. */
export type StreamMap = Record<string, any>;

/** `waiting`: the connection was lost, or could not be made, and is tried again in a moment. */
export type Status = "connecting" | "open" | "waiting" | "closed";

export type Token = string | null | undefined;

export interface Options {
  /** Who the client is, for the app's `streamAuth`. A function is asked before each attempt to connect, so a token that has run out is replaced. */
  token?: Token | (() => Token | Promise<Token>);
  /** For Node before 22, which has none: `(await import("ws")).WebSocket`. */
  WebSocket?: new (url: string, protocols?: string[]) => any;
  /** Milliseconds between attempts to connect: at most `first` (500), doubled each time up to `most` (30,000); each is between half of that and all of it. */
  retry?: { first?: number; most?: number };
}

/** What an item holds, with its id inside. */
export type Stored<T> = T & { readonly id: string };

/** Why a join was refused. It is tried again with each new connection. */
export interface Refusal {
  readonly code: "STREAM_ACCESS_DENIED" | (string & {});
  readonly message: string;
}

export interface StreamEvent {
  readonly type: string;
  /** Of the item that the event was sent to; absent: it was sent to the group. */
  readonly id?: string;
  /** Milliseconds since the epoch, by the clock of the broker. */
  readonly timestamp: number;
}

export interface Subscription<V> {
  /** As it was last heard of; `undefined` before that. Each change makes another value, so `===` tells whether there was one. */
  readonly value: V | undefined;
  /** Whether `value` is what the app has: false before the first answer, and from a lost connection until the next one's answer. */
  readonly live: boolean;
  readonly error: Refusal | undefined;
  /** Called at each change of `value`, `live` or `error`; at once, when a value is known. Returns what ends it. */
  subscribe(listener: (value: V | undefined, subscription: Subscription<V>) => void): () => void;
  /** Events that steps send with `streams.NAME.send`. Returns what ends it. */
  on<D = unknown>(type: string, listener: (data: D, event: StreamEvent) => void): () => void;
  /** Follow it no longer, and call none of its listeners any more. */
  close(): void;
}

/** `null`: there is no such item. */
export type ItemSubscription<T> = Subscription<Stored<T> | null>;

/** The items of the group: by id when it was joined, later ones at the end. */
export type GroupSubscription<T> = Subscription<readonly Stored<T>[]>;

export interface Client<S extends StreamMap = StreamMap> {
  readonly status: Status;
  /** `reason`: of `waiting`, the CloseEvent, or what `token` has thrown. Returns what ends it. */
  onStatus(listener: (status: Status, reason?: unknown) => void): () => void;
  item<N extends keyof S & string>(stream: N, group: string, id: string): ItemSubscription<S[N]>;
  group<N extends keyof S & string>(stream: N, group: string): GroupSubscription<S[N]>;
  /** Connect anew at once, with a token asked for anew: after a login, for example. Everything is joined again. */
  reconnect(): void;
  /** For good. */
  close(): void;
}

/** A client of the app at `url` (http, https, ws or wss; in a browser also relative to the page). It connects at once, and again whenever the connection is lost. */
export function connect<S extends StreamMap = StreamMap>(url: string | URL, options?: Options): Client<S>;
