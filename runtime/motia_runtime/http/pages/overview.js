// Due times as the reader's clock has them, kept current. The server gives the times; which ones are past changes while we look.

const absolute = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "always", style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const SHOWN = 3;

function away(seconds) {
  const [unit, size] = UNITS.find(([, length]) => seconds >= length) ?? UNITS.at(-1);
  return relative.format(Math.round(seconds / size), unit);
}

function update() {
  const now = Date.now() / 1000;
  for (const cell of document.querySelectorAll("[data-due]")) {
    const times = cell.dataset.due.split(" ").map(Number);
    const next = times.filter((time) => time > now).slice(0, SHOWN);
    const lines = next.map((time, index) => {
      const line = document.createElement("div");
      const stamp = document.createElement("time");
      stamp.dateTime = new Date(time * 1000).toISOString();
      stamp.textContent = absolute.format(new Date(time * 1000));
      line.append(stamp);
      if (index > 0) line.className = "muted small";
      else line.append(` ${away(time - now)}`);
      return line;
    });
    if (!lines.length) lines.push(`worked out until ${absolute.format(new Date(times.at(-1) * 1000))}; reload the page for more`);
    cell.replaceChildren(...lines);
  }
}

update();
setInterval(update, 1000);
