// What an operator does: one question, one reason, one request. What a button leads to stands in its data-act.

import { h, patch } from "/dashboard/dom.js";
import { percent } from "/dashboard/format.js";
import { post, remove } from "/dashboard/live.js";

const ACTS = {
  start: { title: "Start", what: "The plan begins with its first phase; without phases, v2 gets the configured share." },
  pause: { title: "Pause", what: "v2 keeps its share and nothing moves by itself; guards go on watching." },
  resume: { title: "Resume", what: "It goes on where it was paused." },
  promote: { title: "Promote", what: "The next phase begins now, whatever its criteria say." },
  promote_full: { title: "Promote to the end", question: (name) => `Promote ${name} to the end?`, verb: "promote", body: { full: true }, what: "All phases that are left are skipped: v2 gets what the last one gives, at once." },
  step_down: { title: "Step down", question: (name) => `Step ${name} down?`, what: "One phase back; from the first one, v2 gets nothing any more.", danger: true },
  set: { title: "Set the share", question: (name) => `Set the share of ${name}?`, what: "v2 gets this share of the users from now on.", fields: shareField },
  rollback: { title: "Roll back", what: "v2 gets nothing any more, at once.", danger: true },
  abort: { title: "Abort", what: "v2 gets nothing any more, and the plan is over: only a new start brings it back.", danger: true },
  emergency_stop: { title: "Emergency stop", what: "Every rollout is rolled back to 0 at once, before any store is asked.", danger: true },
  silence: { title: "Silence alerts", what: "What fits is not sent until the time is over. Guards act all the same.", fields: silenceFields },
  unsilence: { title: "End the silence", question: (what) => `End the silence of ${what}?`, what: "What is still active is sent again." },
};
const RAISES = new Set(["start", "resume", "promote", "set"]);
const $ = (id) => document.getElementById(id);
let asking = null;

/** Which acts a state allows: those that stand first, and the rarer ones. */
export function actsOf(rollout, plan) {
  const phased = Boolean(plan?.phases?.length);
  const first = { disabled: ["start"], running: ["pause", "promote", "rollback"], paused: ["resume", "promote", "rollback"],
    rolled_back: ["start"], completed: ["rollback"], aborted: ["start"] }[rollout.state];
  const going = rollout.state === "running" || rollout.state === "paused";
  const rare = [phased && going ? "promote_full" : null, phased && rollout.percentage > 0 ? "step_down" : null, "set", rollout.state === "aborted" ? null : "abort"];
  return { first: first.filter((one) => one !== "promote" || phased), rare: rare.filter(Boolean) };
}

export function actButton(act, kind) {
  const { title, fields, danger } = ACTS[act];
  return h("button", { type: "button", "data-act": act, class: kind ?? (act === "rollback" ? "danger" : act === "pause" ? "quiet" : "primary") + (danger && act !== "rollback" ? " warns" : "") },
    title === "Roll back" ? "Rollback" : title, fields ? " …" : "");
}

/** Opens the question. `given` is the button's data. */
export function ask(given, rollout) {
  const act = ACTS[given.act];
  const ofRollout = !["emergency_stop", "silence", "unsilence"].includes(given.act);
  asking = { name: given.act, act, given, rollout: ofRollout ? rollout : null };
  const object = ofRollout ? rollout.name : given.what;
  $("ask-title").textContent = act.question?.(object) ?? `${act.title}${object ? ` ${object}` : ""}?`;
  $("ask-what").textContent = act.what;
  patch($("ask-fields"), act.fields ? act.fields(given, rollout) : []);
  $("ask-yes").textContent = act.title;
  $("ask-yes").className = act.danger ? "danger" : "primary";
  $("ask-error").textContent = "";
  $("ask-reason").value = "";
  $("ask").showModal();
  ($("ask-fields").querySelector("input, select") ?? $("ask-reason")).focus();
}

/** Carries out what was asked; gives what is to be said. Throws with the problem's words. `looked` is the rollout as it
 * stands now: it may have been rolled back while the question was open. */
export async function carryOut(looked) {
  const { name, act, given, rollout } = asking;
  const reason = $("ask-reason").value.trim();
  const why = reason ? { reason } : {};
  const value = (id) => $(id).value.trim();
  if (name === "unsilence") await remove(`/api/v1/silences/${encodeURIComponent(given.id)}`, why);
  else if (name === "silence") await post("/api/v1/silences", { expires_in: value("ask-for"), alerts: [value("ask-alerts")], rollouts: [value("ask-rollouts")], ...why });
  else if (name === "emergency_stop") return told("emergency stop", await post("/api/v1/emergency_stop", why));
  else {
    const verb = act.verb ?? name;
    const share = name === "set" ? { percentage: Number(value("ask-share")) } : {};
    const most = Math.min(rollout.percentage, looked?.name === rollout.name ? looked.percentage : Infinity);
    const lowers = name === "set" && share.percentage <= most; // that is never refused for being late
    const body = { ...why, ...act.body, ...share, ...(RAISES.has(verb) && !lowers ? { revision: rollout.revision } : {}) };
    return told(act.title, await post(`/api/v1/rollouts/${encodeURIComponent(rollout.name)}/${verb}`, body));
  }
  return `${act.title}: done`;
}

function told(what, done) {
  return `${what}: done${done.stored === false ? ", not stored yet" : ""}`;
}

function shareField(given, rollout) {
  return [h("label", { for: "ask-share" }, `Share of v2 in percent, now ${percent(rollout.percentage)}`),
    h("input", { id: "ask-share", type: "number", min: "0", max: "100", step: "0.001", required: true, value: String(rollout.percentage), inputmode: "decimal" })];
}

function silenceFields(given) {
  const field = (id, name, value) => [h("label", { for: id }, name), h("input", { id, required: true, value, maxlength: "200", autocomplete: "off", spellcheck: "false" })];
  return [
    h("label", { for: "ask-for" }, "For"),
    h("select", { id: "ask-for" }, [["30m", "30 minutes"], ["2h", "2 hours"], ["8h", "8 hours"], ["1d", "a day"], ["7d", "a week"]].map(([value, name]) =>
      h("option", { value, selected: value === "2h" }, name))),
    ...field("ask-alerts", "Alerts, a pattern such as * or latency*", given.alerts), ...field("ask-rollouts", "Rollouts, a pattern", given.rollouts)];
}
