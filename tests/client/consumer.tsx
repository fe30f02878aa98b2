/** What a type checker has to accept, and, after `@ts-expect-error`, what it has to refuse. Never run. */

import { connect, type Client, type GroupSubscription, type Refusal, type Status, type Stored } from "motia-stream";
import { StreamProvider, useStreamGroup, useStreamItem } from "motia-stream/react";

interface Order {
  status: "new" | "paid";
  progress?: number;
}

type Streams = { orders: Order; chat: { text: string } };

const client: Client<Streams> = connect<Streams>("https://shop.example", {
  token: async () => (Math.random() > 0.5 ? "token" : null),
  retry: { first: 100 },
});
const untyped = connect(new URL("https://shop.example"), { token: "token", WebSocket });

const item = client.item("orders", "all", "o-1");
const value: Stored<Order> | null | undefined = item.value;
const status: "new" | "paid" | undefined = value?.status;
const id: string | undefined = item.value?.id;
const off: () => void = item.subscribe((order, { live, error }) => {
  const known: boolean = live;
  const refused: Refusal | undefined = error;
  console.log(order?.progress, known, refused?.code === "STREAM_ACCESS_DENIED");
});
const group: GroupSubscription<{ text: string }> = client.group("chat", "room");
group.subscribe((messages) => console.log(messages?.map(({ id, text }) => id + text)));
group.on<{ who: string }>("typing", ({ who }, { id, timestamp }) => console.log(who, id, timestamp.toFixed()));
untyped.item("anything", "g", "a").subscribe((found) => console.log(found?.whatever));
const before: () => void = client.onStatus((now: Status, reason) => console.log(now, reason));

// @ts-expect-error: no such stream
client.item("order", "all", "o-1");
// @ts-expect-error: an item has an id
client.item("orders", "all");
// @ts-expect-error: a group has none
client.group("orders", "all", "o-1");
// @ts-expect-error: no such member of an order
console.log(item.value?.total);
// @ts-expect-error: it may be null
console.log(item.value.status);
// @ts-expect-error: what is followed is not written by who follows
item.value = null;
// @ts-expect-error: nor is its list
group.value?.push({ id: "a", text: "" });
// @ts-expect-error: what came was not said
group.on("typing", ({ who }) => console.log(who));
// @ts-expect-error: no number
connect("/", { token: 5 });
// @ts-expect-error: no such state
if (client.status === "connected") client.close();

export function Shown({ order }: { order: string | null }) {
  const { value, live, error } = useStreamItem<Order>("orders", "all", order);
  const all = useStreamGroup<Order>("orders", "all", { client });
  // @ts-expect-error: it may be null
  console.log(value.status);
  // @ts-expect-error: an item has an id
  useStreamItem("orders", "all");
  return (
    <StreamProvider client={untyped}>
      {live && error === undefined && value?.status} {all.value?.map(({ id, status }) => <p key={id}>{status}</p>)}
    </StreamProvider>
  );
}

// @ts-expect-error: a provider has a client
export const without = <StreamProvider>nothing</StreamProvider>;

console.log(status, id, off, before);
