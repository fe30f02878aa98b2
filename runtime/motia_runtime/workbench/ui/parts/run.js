// Run it now: a form for each kind of step, made from its schemas.

import { get, path, post, withQuery } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { app } from "../lib/data.js";
import { Link, to } from "../lib/router.js";
import { html, useState } from "../lib/ui.js";
import { Ago, Empty, Faults, Loaded } from "./common.js";
import { Editor, sampleText } from "./editor.js";
import { Json } from "./json.js";
import { Request } from "./request.js";

/** What came of it: a trace to look at, or why not. */
function Result({ result }) {
  if (!result) return null;
  if (result.error) return html`<div class="trouble" role="alert" data-test="run-trouble"><div><b>${result.error.title || "Not done"}</b><p>${result.error.message}</p><${Faults} faults=${result.error.faults} /></div></div>`;
  return html`<p class="done" data-test="run-done" role="status">${result.text} ${result.trace && html`<${Link} href=${to(["traces", result.trace])}>See trace ${result.trace.slice(0, 8)} →<//>`}</p>`;
}

function useAction() {
  const [result, set] = useState(undefined);
  const [busy, setBusy] = useState(false);
  const act = async (work) => {
    setBusy(true);
    set(undefined);
    try {
      set(await work());
    } catch (error) {
      set({ error });
    } finally {
      setBusy(false);
    }
  };
  return { result, busy, act };
}

/** Text that is JSON, or a Fault-like error that says what is wrong with it. */
function json(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw Object.assign(new Error(error.message), { title: "That is not JSON" });
  }
}

/** What a form for an input begins with. */
function begin(input) {
  if (!input) return "null";
  if (input.what === "topic") return sampleText(input.schema);
  const where = input.what === "state" ? { group: input.name, key: "k" } : { stream: input.name, group: "g", id: "i" };
  return JSON.stringify({ ...where, value: JSON.parse(sampleText(input.schema)), previous: null }, null, 2);
}

function EventForm({ step }) {
  const inputs = step.inputs.filter((input) => input.what !== "answer");
  const [at, pick] = useState(0);
  const input = inputs[at];
  const plain = input?.what === "topic";
  const [text, setText] = useState(() => begin(input));
  const choose = (index) => {
    pick(index);
    setText(begin(inputs[index]));
  };
  const [everybody, setEverybody] = useState(false);
  const { result, busy, act } = useAction();
  if (!input) return html`<${Empty} title="It listens to nothing">Give it a topic under subscribes.<//>`;
  const run = (event) => {
    event.preventDefault();
    act(async () => {
      const data = json(text);
      const all = everybody && plain;
      const done = all ? await post("emit", { topic: input.name, data }) : await post(path("steps", step.name, "run"), { data, source: plain ? input.name : `${input.what}:${input.name}` });
      return { text: all ? `Emitted ${input.name}.` : `Given to ${step.name}.`, trace: done.trace_id };
    });
  };
  return html`<form class="run-form" onSubmit=${run}>
    ${inputs.length > 1 && html`<label class="field"><span>Event</span><select aria-label="Event" value=${at} onChange=${(event) => choose(Number(event.target.value))}>${inputs.map((each, index) => html`<option value=${index}>${each.what === "topic" ? each.name : `${each.what} ${each.name}`}</option>`)}</select></label>`}
    <div class="field"><span>${plain ? input.name : `A change of ${input.what} ${input.name}`} <small>Ctrl-Space completes</small></span>
      <${Editor} text=${text} onText=${setText} schema=${plain ? input.schema : undefined} site=${plain ? input.site : undefined} label="Event data" test="run-data" /></div>
    ${plain && html`<label class="tick"><input type="checkbox" checked=${everybody} onChange=${(event) => setEverybody(event.target.checked)} /> for all steps that subscribe to it, not just this one</label>`}
    <div class="row"><button class="primary" disabled=${busy} data-test="run">Run now</button></div>
    <${Result} result=${result} />
  </form>`;
}

function CronForm({ step }) {
  const { result, busy, act } = useAction();
  const run = () => act(async () => ({ text: "It runs now; its schedule goes on as it was.", trace: (await post(path("steps", step.name, "run"))).trace_id }));
  return html`<div class="run-form"><p class="muted">One more run, beside the schedule <code>${step.trigger}</code>.</p>
    <div class="row"><button class="primary" disabled=${busy} data-test="run" onClick=${run}>Run now</button></div><${Result} result=${result} /></div>`;
}

function EmitForm({ step }) {
  const topics = step.emits.length ? step.emits : step.subscribes.filter((each) => each.kind === "topic").map((each) => each.name);
  const [topic, pick] = useState(topics[0]);
  const schemaOf = (name) => app.value.topics.find((each) => each.name === name)?.schema;
  const schema = schemaOf(topic);
  const [text, setText] = useState(() => sampleText(schema));
  const choose = (name) => {
    pick(name);
    setText(sampleText(schemaOf(name)));
  };
  const { result, busy, act } = useAction();
  if (!topic) return html`<${Empty} icon="noop" title="Nothing to run">This step is only drawn: it emits nothing and nobody answers for it.<//>`;
  const run = (event) => {
    event.preventDefault();
    act(async () => ({ text: `Emitted ${topic}.`, trace: (await post("emit", { topic, data: json(text) })).trace_id }));
  };
  return html`<form class="run-form" onSubmit=${run}>
    <p class="muted">A person or an outside system does this. Emit what it would emit.</p>
    ${topics.length > 1 && html`<label class="field"><span>Topic</span><select aria-label="Topic" value=${topic} onChange=${(event) => choose(event.target.value)}>${topics.map((each) => html`<option value=${each}>${each}</option>`)}</select></label>`}
    <div class="field"><span>${topic}</span><${Editor} text=${text} onText=${setText} schema=${schema ?? undefined} site=${schema ? `topic:${topic}` : undefined} label="Event data" test="run-data" /></div>
    <div class="row"><button class="primary" disabled=${busy} data-test="run">Emit</button></div><${Result} result=${result} />
  </form>`;
}

function TaskForm({ step }) {
  const loaded = useLoad((signal) => get(withQuery("tasks", { step: step.name }), { signal }), [step.name]);
  const input = step.inputs.find((each) => each.what === "answer");
  return html`<${Loaded} of=${loaded}>${({ tasks }) =>
    tasks.length === 0
      ? html`<${Empty} icon="noop" title="No open tasks">Each event of ${step.subscribes.map((each) => each.name).join(", ")} opens one.<//>`
      : tasks.map((task) => html`<${Task} key=${task.id} step=${step} task=${task} input=${input} again=${loaded.again} />`)}<//>`;
}

function Task({ step, task, input, again }) {
  const [text, setText] = useState(() => sampleText(input?.schema));
  const [topic, pick] = useState(step.emits[0]);
  const { result, busy, act } = useAction();
  const run = (event) => {
    event.preventDefault();
    act(async () => {
      await post(path("tasks", step.name, task.id), { answer: json(text), topic, by: "workbench" });
      setTimeout(again, 1200);
      return { text: "Completed.", trace: task.trace_id };
    });
  };
  return html`<form class="run-form task" onSubmit=${run}>
    <div class="row"><b>Task ${task.id}</b><span class="muted">opened <${Ago} at=${task.opened_at} />${task.due_at ? html`, due <${Ago} at=${task.due_at} />` : ""}</span></div>
    <${Json} value=${task.data} />
    <div class="field"><span>Answer</span><${Editor} text=${text} onText=${setText} schema=${input?.schema} site=${input?.site} label="Answer" test="run-data" rows=${5} /></div>
    ${step.emits.length > 1 && html`<label class="field"><span>Topic</span><select aria-label="Topic" value=${topic} onChange=${(event) => pick(event.target.value)}>${step.emits.map((each) => html`<option value=${each}>${each}</option>`)}</select></label>`}
    <div class="row"><button class="primary" disabled=${busy} data-test="run">Complete</button></div><${Result} result=${result} />
  </form>`;
}

/** `step`: of `api/steps/NAME`. */
export function Run({ step }) {
  if (step.kind === "api") return html`<${Request} step=${step} />`;
  if (step.kind === "event") return html`<${EventForm} step=${step} />`;
  if (step.kind === "cron") return html`<${CronForm} step=${step} />`;
  return step.manual ? html`<${TaskForm} step=${step} />` : html`<${EmitForm} step=${step} />`;
}
