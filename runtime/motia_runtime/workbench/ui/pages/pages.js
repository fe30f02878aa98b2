// The pages, in the order of the rail. Each address begins with the name of one.

import { Flows } from "./flows.js";

export const PAGES = [{ name: "flows", title: "Flows", view: Flows }];
