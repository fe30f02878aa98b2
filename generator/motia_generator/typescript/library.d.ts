  /** An API step's request, validated by the spec. `rawBody` is the body as it came, as bytes when it is no text. */
  export interface ApiRequest<TBody = any, TPath = Record<string, string>, TQuery = Record<string, any>> {
    pathParams: TPath;
    queryParams: TQuery;
    body: TBody;
    headers: Record<string, string>;
    rawBody: string | Uint8Array;
    method: string;
    path: string;
  }

  /** An API step's answer. */
  export type ApiResponse<TStatus extends number = number, TBody = any> = {
    status: TStatus;
    headers?: Record<string, string>;
  } & (undefined extends TBody ? { body?: TBody } : { body: TBody });

  /** Trying again would not help: the event becomes a dead letter at once. */
  export class NonRetryable extends Error {}

  /** Not now: try this event again after `delay` seconds. Counts as a failed attempt. */
  export class RetryLater extends Error {
    constructor(delay: number, message?: string);
    delay: number;
  }

  export interface Logger {
    debug(message: string, fields?: Record<string, unknown>): void;
    info(message: string, fields?: Record<string, unknown>): void;
    warn(message: string, fields?: Record<string, unknown>): void;
    warning(message: string, fields?: Record<string, unknown>): void;
    error(message: string, fields?: Record<string, unknown>): void;
  }

  /** How long a value lasts, in seconds. */
  export type Lasting = { ttl?: number };

  /** State without types: any group, any value. */
  export interface State {
    get<T = any>(group: string, key: string): Promise<T | null>;
    set<T = any>(group: string, key: string, value: T, options?: Lasting): Promise<T>;
    update<T = any>(group: string, key: string, change: (value: T | null) => T | Promise<T>): Promise<T>;
    delete<T = any>(group: string, key: string): Promise<T | null>;
    getGroup<T = any>(group: string): Promise<T[]>;
    clear(group: string): Promise<void>;
  }

  /** State of a step that says which groups it uses: the value's type goes by the group, and no other group is there. */
  export interface TypedState<TGroups> {
    get<TGroup extends keyof TGroups>(group: TGroup, key: string): Promise<TGroups[TGroup] | null>;
    get<T>(group: keyof TGroups, key: string): Promise<T | null>;
    set<TGroup extends keyof TGroups>(
      group: TGroup,
      key: string,
      value: TGroups[TGroup],
      options?: Lasting,
    ): Promise<TGroups[TGroup]>;
    set<T = never>(group: keyof TGroups, key: string, value: Exactly<T>, options?: Lasting): Promise<T>;
    update<TGroup extends keyof TGroups>(
      group: TGroup,
      key: string,
      change: (value: TGroups[TGroup] | null) => TGroups[TGroup] | Promise<TGroups[TGroup]>,
    ): Promise<TGroups[TGroup]>;
    delete<TGroup extends keyof TGroups>(group: TGroup, key: string): Promise<TGroups[TGroup] | null>;
    getGroup<TGroup extends keyof TGroups>(group: TGroup): Promise<TGroups[TGroup][]>;
    getGroup<T>(group: keyof TGroups): Promise<T[]>;
    clear(group: keyof TGroups): Promise<void>;
  }

  /** Keeps a type parameter from being taken from an argument: only who names it, as in `set<Order>(...)`, may pass one. */
  type Exactly<T> = [T][T extends any ? 0 : never];

  /** One stream of the app: items in groups. Items are written at once, not when the run commits. */
  export interface MotiaStream<TItem = any> {
    get(group: string, id: string): Promise<TItem | null>;
    set(group: string, id: string, item: TItem): Promise<TItem>;
    delete(group: string, id: string): Promise<TItem | null>;
    getGroup(group: string): Promise<TItem[]>;
    send(channel: { groupId: string; id?: string }, event: { type: string; data: any }): Promise<void>;
  }

  /** What a step that subscribes to a state group gets: one change of one key. */
  export interface StateChange<T = any> {
    group: string;
    key: string;
    value: T | null;
    previous: T | null;
  }

  /** What a step that subscribes to a stream gets: one change of one item. */
  export interface StreamChange<T = any> {
    stream: string;
    group: string;
    id: string;
    value: T | null;
    previous: T | null;
  }

  /** When an event is due: in `delay` seconds, or `at` a second since the epoch. It waits under `key`, in place of what waited there. */
  export type Due = { delay?: number; at?: number; key?: string };

  /** Aborts when the run's time is over, or it is cancelled. */
  export type Signal = typeof globalThis extends { AbortSignal: { prototype: infer T } } ? T : any;

  export interface FlowContext<TEmits = any, TState = State, TStreams = FlowContextStateStreams> {
    emit(event: TEmits & Due): Promise<void>;
    cancelEmit(topic: TEmits extends { topic: infer TTopic } ? TTopic : never, key: string): Promise<void>;
    flush(): Promise<void>;
    state: TState;
    streams: TStreams;
    logger: Logger;
    traceId: string;
    /** The header of that name (W3C Trace Context) for calls to other services: what they record hangs below this run. */
    traceparent: string;
    /** The header that goes with it, as the request or the event brought it; without characters: do not send it. */
    tracestate: string;
    step: string;
    flows: string[];
    attempt: number;
    trigger: { type: "api" | "event" | "cron" | "manual"; [key: string]: any };
    topic: string | undefined;
    idempotencyKey: string;
    signal: Signal;
  }

  export type ApiRouteHandler<
    TBody = any,
    TResponse = ApiResponse,
    TEmits = any,
    TPath = Record<string, string>,
    TQuery = Record<string, any>,
    TState = State,
    TStreams = FlowContextStateStreams,
  > = (
    req: ApiRequest<TBody, TPath, TQuery>,
    ctx: FlowContext<TEmits, TState, TStreams>,
  ) => Promise<TResponse>;
  /** With these properties, which have a default, filled in. */
  export type Filled<T, K extends keyof T> = T & Required<Pick<T, K>>;
  export type EventHandler<TInput = any, TEmits = any, TState = State, TStreams = FlowContextStateStreams> = (
    input: TInput,
    ctx: FlowContext<TEmits, TState, TStreams>,
  ) => Promise<void>;
  export type CronHandler<TEmits = any, TState = State, TStreams = FlowContextStateStreams> = (
    ctx: FlowContext<TEmits, TState, TStreams>,
  ) => Promise<void>;
  /** Says whether an event step runs. */
  export type Condition<TInput = any> = (input: TInput, ctx: FlowContext<never>) => Promise<boolean>;
  /** Runs around an API step's handler; what it returns without calling `next` is the answer. */
  export type ApiMiddleware<TBody = any, TEmits = any, TResponse = any> = (
    req: ApiRequest<TBody>,
    ctx: FlowContext<TEmits>,
    next: (req?: ApiRequest<TBody>) => Promise<TResponse>,
  ) => Promise<TResponse>;

  // The `config` blocks of the original's step files: motia.yaml holds what they say, they are not read any more.
  export type ApiRouteConfig = { type: "api"; name: string; middleware?: ApiMiddleware[]; [key: string]: any };
  export type EventConfig = { type: "event"; name: string; [key: string]: any };
  export type CronConfig = { type: "cron"; name: string; [key: string]: any };
  export type NoopConfig = { type: "noop"; name: string; [key: string]: any };
  export type StreamConfig = {
    name: string;
    canAccess?: (subscription: { groupId: string; id?: string }, auth: any) => boolean | Promise<boolean>;
    [key: string]: any;
  };
  export function config<T>(value: T): T;
  export function defineConfig<T>(value: T): T;
  export type StepConfig = ApiRouteConfig | EventConfig | CronConfig | NoopConfig;
