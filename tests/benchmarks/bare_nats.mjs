// Request-reply over NATS with nats.js: a responder that parses an order and answers with its customer, and a requester that keeps so many under way.
// node bare_nats.mjs serve | node bare_nats.mjs ask SECONDS IN_FLIGHT
import { connect } from "@nats-io/transport-node";

const nc = await connect({ servers: process.env.NATS_URL, token: process.env.NATS_TOKEN });
const [what, seconds, flight] = process.argv.slice(2);
if (what === "serve") {
  nc.subscribe("bare.order", {
    queue: "q",
    callback: (_, message) => message.respond(JSON.stringify({ customer: JSON.parse(message.string()).customerId })),
  });
  await nc.flush();
  console.log("ready");
} else {
  const order = process.env.ORDER;
  const took = [];
  const until = performance.now() + Number(seconds) * 1000;
  const began = performance.now();
  const one = async () => {
    while (performance.now() < until) {
      const sent = performance.now();
      JSON.parse((await nc.request("bare.order", order, { timeout: 10_000 })).string());
      took.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: Number(flight) }, one));
  const rate = (took.length / (performance.now() - began)) * 1000;
  took.sort((a, b) => a - b);
  console.log(JSON.stringify([rate, took[took.length >> 1]]));
  await nc.close();
}
