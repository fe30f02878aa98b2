// Times, sizes and values as people read them.

/** @type {[number, string][]} */
const units = [[86400, "d"], [3600, "h"], [60, "m"]];

/** Seconds: "0.4 ms", "12 ms", "1.35 s", "2m 5s". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds === 0) return "0";
  if (seconds < 0.001) return `${(seconds * 1000).toFixed(2)} ms`;
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  let left = Math.round(seconds);
  const parts = [];
  for (const [size, unit] of units.concat([[1, "s"]])) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count) parts.push(`${count}${unit}`);
  }
  return parts.slice(0, 2).join(" ");
}

/** "just now", "12 s ago", "in 5 m". */
export function ago(at, now = Date.now() / 1000) {
  const seconds = now - at;
  const size = Math.abs(seconds);
  if (size < 1.5) return "just now";
  const text = size < 60 ? `${Math.round(size)} s` : units.map(([step, unit]) => (size >= step ? `${Math.floor(size / step)} ${unit}` : "")).find(Boolean);
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

const pad = (value, size = 2) => String(value).padStart(size, "0");

/** "14:03:07.120", in the reader's zone. */
export function clock(at, digits = 3) {
  const date = new Date(at * 1000);
  const text = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return digits ? `${text}.${pad(date.getMilliseconds(), 3)}` : text;
}

/** "2026-11-22 14:03:07", in the reader's zone. */
export function stamp(at) {
  const date = new Date(at * 1000);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock(at, 0)}`;
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

export const pretty = (value) => JSON.stringify(value, null, 2) ?? "";

/** Whether an outcome is one that somebody should look at. */
export const tone = (outcome) => ({ ok: "good", recovered: "good", completed: "good", retry: "warn", split: "warn", failed: "bad", dead: "bad", expired: "bad", cancelled: "warn", running: "live" })[outcome] ?? "calm";
