// What the server does not let us do, and what would have to be allowed: told once of each right that is missing, since it may be missing a
// thousand times a second. nats/rights.py is the same for Python.

const VIOLATION = /permissions violation for (publish|subscription) to "([^"]+)"/i;

export class Rights {
  /** `prefix`: `nats.prefix` of the spec. */
  constructor(prefix) {
    this.needed = {
      publish: [`${prefix}.work.to.`, "_INBOX."],
      subscribe: [`${prefix}.work.run.`, `${prefix}.work.cancel.`, "$SRV.", "_INBOX."],
    };
    this.told = new Set();
  }

  /** What to say of the server's words; undefined when it has been said. */
  message(text) {
    const found = VIOLATION.exec(text);
    if (!found) return `NATS: ${text}`;
    const kind = found[1].toLowerCase() === "publish" ? "publish" : "subscribe";
    const start = this.needed[kind].find((each) => found[2].startsWith(each));
    const missing = start ? `${start}>` : found[2];
    if (this.told.has(`${kind} ${missing}`)) return undefined;
    this.told.add(`${kind} ${missing}`);
    return `NATS does not let us ${kind} to "${found[2]}": have its user's permissions allow to ${kind} "${missing}"`;
  }
}
