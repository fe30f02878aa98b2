// The pages, in the order of the rail. Each address begins with the name of one.

import { Endpoints } from "./endpoints.js";
import { Flows } from "./flows.js";
import { Logs } from "./logs.js";
import { Queues } from "./queues.js";
import { Schedules } from "./schedules.js";
import { Spec } from "./spec.js";
import { State } from "./state.js";
import { Streams } from "./streams.js";
import { Traces } from "./traces.js";

export const PAGES = [
  { name: "flows", title: "Flows", view: Flows },
  { name: "endpoints", title: "Endpoints", view: Endpoints },
  { name: "traces", title: "Traces", view: Traces },
  { name: "logs", title: "Logs", view: Logs },
  { name: "queues", title: "Queues", view: Queues },
  { name: "schedules", title: "Schedules", view: Schedules },
  { name: "state", title: "State", view: State },
  { name: "streams", title: "Streams", view: Streams },
  { name: "spec", title: "Spec", view: Spec },
];
