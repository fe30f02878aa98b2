// A Node server without a framework that does what the step does: parse an order, check its members, answer 200 with its customer.
import http from "node:http";

const server = http.createServer((req, res) => {
  const chunks = [];
  req.on("data", (chunk) => chunks.push(chunk));
  req.on("end", () => {
    const order = JSON.parse(Buffer.concat(chunks));
    if (typeof order.customerId !== "string" || !Array.isArray(order.items)) throw new Error("no order");
    const body = JSON.stringify({ customer: order.customerId });
    // in lower case, as the load generator looks for it
    res.writeHead(200, ["content-type", "application/json", "content-length", Buffer.byteLength(body)]);
    res.end(body);
  });
});
server.listen(0, "127.0.0.1", () => console.log(`port ${server.address().port}`));
