// Icons as strokes of a 24 by 24 grid.

import { html } from "../lib/ui.js";

const PATHS = {
  flows: "M5 4h5v5H5zM14 15h5v5h-5zM10 6.5h4a3 3 0 0 1 3 3V15M7.5 9v4a3 3 0 0 0 3 3H14",
  endpoints: "M4 8h13l-3.5-3.5M20 16H7l3.5 3.5",
  traces: "M4 6h9M8 12h9M13 18h7",
  logs: "M5 6h14M5 10h10M5 14h14M5 18h7",
  state: "M5 6c0-1.7 3.1-3 7-3s7 1.3 7 3-3.1 3-7 3-7-1.3-7-3zM5 6v12c0 1.7 3.1 3 7 3s7-1.3 7-3V6M5 12c0 1.7 3.1 3 7 3s7-1.3 7-3",
  streams: "M3 8c3-3 6 3 9 0s6 3 9 0M3 13c3-3 6 3 9 0s6 3 9 0M3 18c3-3 6 3 9 0s6 3 9 0",
  queues: "M4 5h16v4H4zM4 12h16v3H4zM4 18h16v2H4z",
  schedules: "M12 7v5l3.5 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  spec: "M7 3h7l4 4v14H7zM14 3v4h4M10 12h5M10 16h5",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4.5 4.5",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  close: "M6 6l12 12M18 6L6 18",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  reset: "M4 12a8 8 0 1 1 2.5 5.8M4 18v-4h4",
  data: "M5 6c0-1.7 3.1-3 7-3s7 1.3 7 3-3.1 3-7 3-7-1.3-7-3zM5 6v12c0 1.7 3.1 3 7 3s7-1.3 7-3V6",
  api: "M4 12h14M13 6l6 6-6 6",
  event: "M13 3L5 14h6l-1 7 8-11h-6z",
  cron: "M12 7v5l3.5 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  noop: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM5 21c0-4 3-7 7-7s7 3 7 7",
  topic: "M4 12h16M14 7l6 5-6 5",
  stream: "M3 9c3-3 6 3 9 0s6 3 9 0M3 15c3-3 6 3 9 0s6 3 9 0",
  warning: "M12 4L2.5 20h19zM12 10v4M12 17v.5",
  check: "M5 12.5l4.5 4.5L19 7.5",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  back: "M15 5l-7 7 7 7",
  redo: "M20 12a8 8 0 1 1-2.5-5.8M20 6v4h-4",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
};

export const iconPath = (name) => PATHS[name] ?? "";

export function Icon({ name, size = 16 }) {
  return html`<svg class="icon" width=${size} height=${size} viewBox="0 0 24 24" aria-hidden="true"><path d=${iconPath(name)} /></svg>`;
}
