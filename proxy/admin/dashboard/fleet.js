// The instances that share the rollouts: who judges, who is there, what each serves, and what is odd about it.

import { h } from "/dashboard/dom.js";
import { DASH, duration, percent, share } from "/dashboard/format.js";

const ROLES = { judge: "judges", follower: "follows", alone: "alone" };
const QUIET_S = 3; // each speaks every second
const OFF_S = 5;
const MISSED_MS = 600_000;

/** Those that have been seen from this page and are there no more, for a while. */
export class Missing {
  constructor() {
    this.seen = new Map();
  }

  take(fleet, now) {
    const there = new Set((fleet?.members ?? []).map((one) => one.instance));
    for (const one of there) this.seen.set(one, now);
    for (const [one, at] of this.seen) if (!fleet || now - at > MISSED_MS) this.seen.delete(one);
    this.gone = [...this.seen].filter(([one]) => !there.has(one)).map(([instance, at]) => ({ instance, at }));
  }
}

/** What somebody has to know before anything else, or nothing. */
export function fleetTrouble(fleet) {
  if (!fleet || fleet.store.reached) return "";
  return `The shared store is gone${fleet.store.last_s ? ` for ${duration(fleet.store.last_s)}` : ""}: ${fleet.instance} serves by its own copy, may go down on its own, and raises nothing.`;
}

/** `rollout` is the one that is looked at, or null. Of ourselves we know more than we could tell the others. */
export function fleetCard(fleet, rollout, missing, now) {
  if (!fleet) return null;
  const ours = rollout && { revision: rollout.revision, weight: rollout.weight };
  const serving = rollout && fleet.members.map((one, place) => (one.instance === fleet.instance ? ours : rollout.serving?.[place]));
  const all = fleet.members.reduce((sum, one) => sum + (one.per_minute ?? 0), 0);
  const newest = Math.max(0, ...(serving ?? []).map((one) => one?.revision ?? 0));
  const configs = new Set(fleet.members.filter((one) => one.readable).map((one) => one.config));
  return h("section", { class: "card", "data-key": "fleet", id: "fleet" },
    h("h2", {}, "Fleet"), h("p", {}, sentence(fleet, missing)),
    configs.size > 1 ? h("p", { class: "error" }, "Their configurations differ: the judge\u2019s is decided by.") : null,
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Instances" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Instance", "Role", "Last seen", "Traffic", "Serves"].map((one) => h("th", { scope: "col" }, one)))),
      h("tbody", {}, fleet.members.map((one, place) => member(one, serving?.[place], { fleet, all, newest })),
        missing.map((one) => h("tr", { "data-key": `gone ${one.instance}` }, h("th", { scope: "row" }, one.instance), h("td", {}, pill("bad", "gone")),
          h("td", {}, `${duration((now - one.at) / 1000)} ago`), h("td", {}, DASH), h("td", {}, DASH)))))));
}

function sentence(fleet, missing) {
  const count = fleet.members.length;
  const there = `${count} instance${count === 1 ? "" : "s"}${missing.length ? `, ${missing.length} gone` : ""}; ${fleet.judge ? `${fleet.judge} judges` : "nobody judges"}. `;
  if (fleet.store.reached) {
    const behind = fleet.events.stored - fleet.events.copied;
    return `${there}The shared store answers; the copy here has ${behind > 0 ? `all but ${behind} of its events` : "all of it"}.`;
  }
  return `${there}The shared store is gone${fleet.store.detail ? ` (${fleet.store.detail})` : ""}: served by the copy here.`;
}

function member(one, serving, { fleet, all, newest }) {
  const role = one.instance === fleet.instance ? fleet.role : one.role;
  const odd = [
    one.behind.length ? `behind in ${one.behind.join(", ")}` : null,
    Math.abs(one.clock_skew_s) >= OFF_S ? `clock ${one.clock_skew_s > 0 ? "+" : "\u2212"}${duration(Math.abs(one.clock_skew_s))}` : null,
  ].filter(Boolean);
  return h("tr", { "data-key": one.instance },
    h("th", { scope: "row" }, one.instance, one.instance === fleet.instance ? h("small", { class: "muted" }, " this page") : null,
      h("small", { class: "muted block" }, one.readable ? `${one.version}, ${one.workers} worker${one.workers === 1 ? "" : "s"}` : one.unread ?? "cannot be understood")),
    h("td", {}, role === null ? pill("bad", "unknown") : pill({ judge: "good", follower: "idle", alone: "bad" }[role], ROLES[role])),
    h("td", {}, one.instance === fleet.instance ? "here" : one.seen_s > QUIET_S ? pill("wait", `${duration(one.seen_s)} ago`) : "now"),
    h("td", { class: "number" }, one.per_minute === null || !all ? DASH : share(one.per_minute / all)),
    h("td", {}, serving ? [`revision ${serving.revision}, ${percent(serving.weight / 1000)} `, serving.revision < newest ? pill("wait", `${newest - serving.revision} behind`) : null] : DASH,
      odd.map((text) => h("div", {}, pill("wait", text)))));
}

function pill(tone, text) {
  return h("span", { class: `pill ${tone}` }, text);
}
