// Alerts that last, what keeps them from being sent, and sinks that cannot send.

import { h } from "/dashboard/dom.js";
import { ago, clock, count, duration } from "/dashboard/format.js";

const TONES = { critical: "bad", warning: "wait", info: "idle" };

/** How many alerts are active that nobody has silenced, and the worst tone among them. */
export function loudest(alerts) {
  return { count: alerts?.loud ?? 0, tone: TONES[alerts?.worst] ?? "idle" };
}

export function alertsCard(alerts, name, { operator, now }) {
  if (!alerts) return null;
  const mine = [...alerts.active].sort((a, b) => (b.rollout === name) - (a.rollout === name));
  const more = alerts.count - mine.length;
  const troubled = alerts.sinks.filter((one) => one.trouble !== null);
  return h("section", { class: "card", "data-key": "alerts", id: "alerts", tabindex: "-1" },
    h("div", { class: "head" }, h("h2", {}, "Alerts"),
      operator ? h("button", { type: "button", class: "quiet small", "data-act": "silence", "data-rollouts": name ?? "*", "data-alerts": "*" }, "Silence …") : null),
    mine.length ? h("ul", { class: "alerts" }, mine.map((one) => alert(one, alerts.silences, operator, now))) : h("p", { class: "muted" }, "Nothing is active."),
    more > 0 ? h("p", { class: "muted" }, `${count(more)} more: dualpath alerts show.`) : null,
    alerts.silences.length ? [h("h3", {}, "Silences"), h("ul", { class: "alerts" }, alerts.silences.map((one) => silence(one, operator, now)))] : null,
    troubled.map((one) => h("p", { class: "error" }, `${one.name} (${one.kind}) cannot send: ${one.trouble}`)));
}

function alert(one, silences, operator, now) {
  const by = silences.find((silenced) => silenced.id === one.silence);
  return h("li", { class: one.silence === null ? TONES[one.severity] : "idle", "data-key": one.key },
    h("div", {}, h("span", { class: `pill ${TONES[one.severity]}` }, one.severity), " ",
      h("strong", {}, one.rollout === null ? "this proxy" : h("a", { href: `#/${encodeURIComponent(one.rollout)}` }, one.rollout)), ` ${one.subject || one.kind.replaceAll("_", " ")}`),
    h("p", {}, one.reason),
    h("p", { class: "muted" }, `since ${clock(one.since)} (${ago(one.since, now)})`,
      one.silence !== null ? ` · silenced${by ? ` until ${clock(by.until)} by ${by.actor}` : ""}` : one.sent_at === null ? " · not sent" : ` · sent ${clock(one.sent_at)}`),
    operator && one.silence === null ? h("button", { type: "button", class: "quiet small", "data-act": "silence", "data-alerts": one.subject || one.kind,
      "data-rollouts": one.rollout ?? "*" }, "Silence …") : null);
}

function silence(one, operator, now) {
  const left = (new Date(one.until).getTime() - now) / 1000;
  return h("li", { class: "idle", "data-key": one.id },
    h("div", {}, h("strong", {}, one.alerts.join(", ")), " on ", h("strong", {}, one.rollouts.join(", "))),
    h("p", {}, one.reason || "–"),
    h("p", { class: "muted" }, `by ${one.actor}, until ${clock(one.until)}${left > 0 ? `, ${duration(left)} left` : ""}`),
    operator && one.actor !== "config" ? h("button", { type: "button", class: "quiet small", "data-act": "unsilence", "data-id": one.id, "data-what": one.alerts.join(", ") }, "End it …") : null);
}
