// The bytes of a connection to NATS, taken apart into messages and words of the protocol.

export const CRLF = Buffer.from("\r\n");
const NO_HEAD = Object.freeze({});

/** Takes the bytes of one connection apart. */
export class Parser {
  constructor(nats, socket) {
    this.nats = nats;
    this.socket = socket;
    this.rest = undefined;
    this.welcome = undefined; // until we are let in: who waits for that
    this.alive = () => {};
  }

  take(chunk) {
    this.alive();
    const buffer = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk]);
    this.rest = undefined;
    let at = 0;
    while (at < buffer.length) {
      const end = buffer.indexOf(CRLF, at);
      if (end < 0) break;
      const kind = buffer[at];
      if (kind === 0x4d || kind === 0x48) {
        // MSG subject sid [reply] size, HMSG subject sid [reply] head size
        const headed = kind === 0x48;
        const words = buffer.latin1Slice(at, end).split(" ");
        const start = end + 2;
        const stop = start + Number(words[words.length - 1]);
        if (stop + 2 > buffer.length) break;
        const body = headed ? start + Number(words[words.length - 2]) : start;
        const reply = words.length === (headed ? 6 : 5) ? words[3] : "";
        let head = NO_HEAD;
        let status = 0;
        if (headed) [status, head] = headOf(buffer.toString("utf8", start, body));
        at = stop + 2;
        this.nats.message(words[2], words[1], reply, buffer.subarray(body, stop), head, status);
        continue;
      }
      const line = buffer.toString("utf8", at, end);
      at = end + 2;
      if (line === "PING") {
        if (this.welcome) this.socket.write("PONG\r\n");
        else this.nats.ping();
      } else if (line === "PONG") {
        if (this.welcome) this.welcome.pong();
        else this.nats.pong();
      } else if (line.startsWith("-ERR")) {
        const text = line.slice(4).trim().replace(/^'|'$/g, "");
        if (this.welcome) this.welcome.err(text);
        else this.nats.refused(text);
      } else if (line.startsWith("INFO ")) this.nats.took(JSON.parse(line.slice(5)));
    }
    if (at < buffer.length) this.rest = buffer.subarray(at);
  }
}

function headOf(text) {
  const lines = text.split("\r\n");
  const head = {};
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(":");
    if (colon > 0) head[line.slice(0, colon)] = line.slice(colon + 1).trim();
  }
  return [lines[0].length > 8 ? Number(lines[0].slice(8).trim().split(" ")[0]) || 0 : 0, head];
}
