/** Follows an app, and says in lines of JSON what it sees, until its input ends: `node follow.mjs URL TOKEN`. */

import { connect } from "motia-stream";

const [url, token] = process.argv.slice(2);
const { WebSocket } = globalThis.WebSocket ? globalThis : await import("ws");
const client = connect(url, { token, WebSocket, retry: { first: 20, most: 100 } });
const say = (what) => console.log(JSON.stringify(what));

client.onStatus((status) => say({ status }));
for (const id of ["a", "none"]) client.item("orders", "mine", id).subscribe((value, { live }) => say({ item: id, value, live }));
const group = client.group("orders", "mine");
group.subscribe((value, { live }) => say({ group: "mine", value, live }));
group.on("note", (data, { id }) => say({ note: data, id }));
client.group("orders", "theirs").subscribe((value, { error }) => say({ group: "theirs", value, error: error?.code }));

process.stdin.on("end", () => client.close()).resume();
