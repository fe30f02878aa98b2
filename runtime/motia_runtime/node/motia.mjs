// What `import { NonRetryable } from "motia"` finds at run time; all else of that module are types (motia_types/types.d.ts).
export { NonRetryable, RetryLater } from "./errors.mjs";
