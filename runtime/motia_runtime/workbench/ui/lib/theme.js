// Dark or light: what the system says, until somebody chooses.

import { Store } from "./ui.js";

const KEY = "motia.workbench.theme";
const system = matchMedia("(prefers-color-scheme: light)");
const wanted = () => localStorage.getItem(KEY) ?? (system.matches ? "light" : "dark");

/** "dark" or "light". */
export const theme = new Store(wanted());

const apply = () => document.documentElement.setAttribute("data-theme", theme.value);
theme.subscribe(apply);
system.addEventListener("change", () => theme.set(wanted()));
apply();

export function toggleTheme() {
  const next = theme.value === "dark" ? "light" : "dark";
  localStorage.setItem(KEY, next);
  theme.set(next);
}
