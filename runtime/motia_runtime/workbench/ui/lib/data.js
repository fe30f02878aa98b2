// What the whole page knows of the app: its steps, flows, topics and schemas, read anew for each version.

import { Schemas } from "../shared/schema.js";
import { get } from "./api.js";
import { version } from "./live.js";
import { Store } from "./ui.js";

/** @type {Store<any>} */
export const app = new Store(undefined);
/** Why it could not be read. @type {Store<any>} */
export const trouble = new Store(undefined);

export async function load() {
  try {
    const found = await get("app");
    found.schemas = new Schemas(found.defs);
    found.byName = new Map(found.steps.map((step) => [step.name, step]));
    app.set(found);
    trouble.set(undefined);
    document.title = `${found.name} · Workbench`;
  } catch (error) {
    trouble.set(error);
  }
}

version.subscribe(load);

export const step = (name) => app.value?.byName.get(name);
