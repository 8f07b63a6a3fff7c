// What is shown: the list of rollouts, and one rollout from the answer to "where does it stand, and why?" down to
// the details. Values in, elements out; what is done with them stands in main.js.

import { h } from "/dashboard/dom.js";
import { draw } from "/dashboard/charts.js";
import { DASH, ago, clock, count, duration, ms, percent, rate, reading, share } from "/dashboard/format.js";
import { criteria, failedPhase, limitsOf, standing, tolerable, toneOf } from "/dashboard/figures.js";
import { actButton, actsOf } from "/dashboard/acting.js";
import { alertsCard } from "/dashboard/alerts.js";
import { spread } from "/dashboard/spread.js";

const SIGNS = { good: "✓", wait: "◷", bad: "✕", idle: "○" };
const WORDS = { rolled_back: "rolled back" };
const VERDICTS = { pass: "good", hold: "wait", fail: "bad" };

export function rolloutList(rollouts, plans, chosen) {
  const urgent = { bad: 0, wait: 1, good: 2, idle: 3 };
  const order = (one) => urgent[toneOf(one, plans[one.name])];
  const sorted = [...rollouts].sort((a, b) => order(a) - order(b)); // what needs somebody comes first
  return h("nav", { class: "card list", tabindex: "0", "aria-label": "Rollouts", "data-key": "list" },
    chosen === null ? null : h("a", { class: "skip", href: "#it" }, `To ${chosen}`),
    h("table", {},
      h("thead", {}, h("tr", {}, ["Rollout", "State", "Phase", "Target", "Observed", "Verdict", "Errors v1", "Errors v2"].map((one) => h("th", { scope: "col" }, one)))),
      h("tbody", {}, sorted.map((one) => h("tr", { class: one.name === chosen ? "chosen" : null, "data-key": one.name },
        h("th", { scope: "row" }, h("a", { href: `#/${encodeURIComponent(one.name)}`, "aria-current": one.name === chosen ? "page" : null }, one.name)),
        h("td", {}, pill(toneOf(one, plans[one.name]), WORDS[one.state] ?? one.state)),
        h("td", {}, one.phase ?? DASH),
        h("td", { class: "number" }, percent(one.percentage)),
        h("td", { class: "number" }, percent(one.observed_percentage, 1)),
        h("td", {}, one.verdict === "fail" || (one.state === "running" && plans[one.name]?.phases?.length) ? pill(VERDICTS[one.verdict], one.verdict) : DASH),
        one.error_rate.map((rate) => h("td", { class: "number" }, share(rate))))))));
}

export function oneRollout(rollout, plan, shown) {
  return h("article", { "data-key": rollout.name },
    hero(rollout, plan, shown), rail(rollout, plan, shown.events), tiles(rollout, plan, shown),
    h("div", { class: "card", "data-key": "charts" },
      h("div", { class: "head" }, h("h2", {}, "v1 beside v2"), spans(shown.span)),
      h("div", { class: "charts" }, shown.charts.map((one) => draw(one, shown.cursor)), distributions(rollout, plan))),
    h("div", { class: "columns", "data-key": "columns" }, limits(rollout, plan), alertsCard(shown.alerts, rollout.name, shown), shown.fleet, backends(rollout), evidence(rollout)),
    timeline(shown.events, shown.now));
}

function hero(rollout, plan, { operator, now }) {
  const { tone, head, why } = standing(rollout, plan);
  const acts = actsOf(rollout, plan);
  return h("section", { class: `card hero ${tone}`, "data-key": "hero", id: "it", tabindex: "-1", "aria-label": "Where it stands" },
    h("div", { class: "share" },
      h("span", { class: "big" }, percent(rollout.percentage)), h("span", {}, "on v2"),
      h("span", { class: "muted" }, `observed ${percent(rollout.observed_percentage, 1)}`)),
    h("div", { class: "words" },
      h("h1", {}, h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[tone]), ` ${head}`),
      h("ul", { class: "why" }, why.map((one) => h("li", {}, one))),
      h("p", { class: "muted" }, `${rollout.name} · ${WORDS[rollout.state] ?? rollout.state} ${since(rollout, now)}`,
        rollout.judgment.eta_s !== null ? ` · about ${duration(Math.ceil(rollout.judgment.eta_s))} more at the present rate` : "",
        ` · breaker ${rollout.breaker.replace("_", " ")}`)),
    operator ? h("div", { class: "acts", role: "group", "aria-label": "Actions" },
      h("div", { class: "actions" }, acts.first.map((one) => actButton(one))),
      h("div", { class: "actions rare" }, acts.rare.map((one) => actButton(one, "quiet small")))) : null);
}

/** Before anything is known of it, as in a fleet whose store has never answered, it has no beginning. */
function since({ revision, since: at }, now) {
  return revision ? `since ${clock(at)} (${ago(at, now)})` : "not known here yet";
}

function rail(rollout, plan, events) {
  const phases = plan?.phases ?? [];
  if (!phases.length) return null;
  const place = phases.findIndex((one) => one.name === rollout.phase);
  const all = rollout.state === "completed";
  const failed = phases.findIndex((one) => one.name === failedPhase(rollout, events));
  const asked = criteria(rollout);
  const left = rollout.state === "running" ? rollout.judgment.eta_s : null;
  return h("section", { class: "card", "data-key": "rail", "aria-label": "Phases" },
    h("ol", { class: "rail", tabindex: "0", "aria-label": "The plan" }, phases.map((one, at) => {
      const kind = all || at < Math.max(place, failed) ? "done" : at === place ? "now" : at === failed ? "failed" : "next";
      return h("li", { class: kind, "aria-current": kind === "now" ? "step" : null },
        h("span", { class: "dot", "aria-hidden": "true" }, { done: "✓", failed: "✕" }[kind] ?? at + 1),
        h("span", { class: "name" }, one.name), h("span", { class: "muted" }, percent(one.percentage)),
        kind === "now" && left !== null ? h("span", { class: "left" }, `about ${duration(Math.ceil(left))} left`) : null,
        h("span", { class: "visually-hidden" }, { done: "done", now: "now", failed: "ended by a rollback", next: "to come" }[kind]));
    })),
    asked.length ? h("ul", { class: "criteria" }, asked.map((one) => h("li", { class: one.share >= 1 ? "met" : "unmet" },
      h("span", { class: "what" }, one.share >= 1 ? "✓ " : "◷ ", one.name),
      h("progress", { max: "1", value: one.share.toFixed(3), "aria-label": one.name }),
      h("span", { class: "muted" }, one.text)))) : null);
}

function tiles(rollout, plan, { last }) {
  const { v1, v2 } = rollout.recent.paths;
  const { client, window_s: span } = rollout.recent;
  const limit = (metric) => nearest(limitsOf(rollout, plan), metric);
  const worse = rollout.recent.comparison.error_rate.difference;
  const most = tolerable(plan, v1.error_rate);
  return h("section", { class: "tiles", "data-key": "tiles", "aria-label": `The last ${duration(span)}` },
    tile("Requests", pair(rate(last?.rps1), rate(last?.rps2)), `${count(v1.requests)} and ${count(v2.requests)} in ${duration(span)}`),
    tile("Errors of attempts", pair(v1.requests ? share(v1.error_rate) : DASH, v2.requests ? share(v2.error_rate) : DASH),
      worse === null ? "no sample on both" : `v2 − v1: ${worse > 0 ? "+" : ""}${(worse * 100).toFixed(2)} points${most === null ? "" : `, ${(most * 100).toFixed(2)} is tolerable`}`,
      limit("error_rate")),
    tile("Clients saw", h("b", {}, client.requests ? share(client.error_rate) : DASH), `${count(client.errors)} errors of ${count(client.requests)}`, limit("client_error_rate")),
    tile("Fallbacks to v1", h("b", {}, v2.assigned ? share(v2.fallback_rate) : DASH), fallbackText(rollout.recent), limit("fallback_rate")),
    tile("p95", pair(v1.requests ? ms(v1.latency_ms.p95) : DASH, v2.requests ? ms(v2.latency_ms.p95) : DASH),
      v1.requests && v2.requests ? `mean ${ms(v1.latency_ms.mean)} and ${ms(v2.latency_ms.mean)}` : "no sample on both", limit("latency_p95")));
}

function tile(name, value, text, guard) {
  const near = guard && guard.value !== null ? guard.value / guard.limit : 0;
  return h("div", { class: `tile ${guard?.firing || near >= 1 ? "bad" : near > 0.6 ? "wait" : ""}` },
    h("h3", {}, name), h("div", { class: "value" }, value), h("p", { class: "muted" }, text),
    guard ? h("p", { class: "room" }, headroom(guard)) : null);
}

function headroom(guard) {
  const limit = `${guard.action} at ${reading(guard.metric, guard.limit)}`;
  if (guard.value === null) return limit;
  return guard.crossed ? `${limit}: crossed` : `${limit}: ${reading(guard.metric, guard.limit - guard.value)} of room`;
}

function nearest(limits, metric) {
  return limits.filter((one) => one.metric === metric && one.name.includes(" above ")).sort((a, b) => b.action.localeCompare(a.action) || a.limit - b.limit)[0];
}

function pair(v1, v2) {
  return [h("span", { class: "v1" }, h("small", {}, "v1 "), h("b", {}, v1)), h("span", { class: "v2" }, h("small", {}, "v2 "), h("b", {}, v2))];
}

function fallbackText(recent) {
  const kinds = Object.entries(recent.fallbacks_by_reason).map(([name, number]) => `${count(number)} ${name}`);
  return kinds.length ? kinds.join(", ") : "none";
}

function spans(span) {
  return h("div", { class: "spans", role: "group", "aria-label": "Time shown" }, [[5, "5 min"], [60, "1 h"], [360, "6 h"], [1440, "24 h"]].map(
    ([minutes, name]) => h("button", { type: "button", class: "quiet", "data-span": minutes, "aria-pressed": String(span === minutes) }, name)));
}

function limits(rollout, plan) {
  const guards = limitsOf(rollout, plan);
  return h("section", { class: "card" }, h("h2", {}, "Limits"), guards.length ? h("div", { class: "scroll", tabindex: "0" }, h("table", {},
    h("thead", {}, h("tr", {}, ["Limit", "Now", "Room", "Then"].map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", {}, guards.map((one) => {
      const tone = one.firing ? "bad" : one.crossed ? "wait" : one.value === null ? "idle" : "good";
      const used = one.value === null || !one.name.includes(" above ") ? null : Math.min(1, Math.max(0, one.value / one.limit));
      return h("tr", {}, h("th", { scope: "row" }, `${one.metric.replaceAll("_", " ")} ${one.name.includes(" below ") ? "below" : "above"} ${reading(one.metric, one.limit)}`),
        h("td", {}, pill(tone, one.value === null ? one.min_requests ? `waits, ${count(one.sample)} of ${count(one.min_requests)}` : "waits" : reading(one.metric, one.value))),
        h("td", {}, used === null ? DASH : h("meter", { min: "0", max: "1", high: "0.6", optimum: "0", value: used.toFixed(3), "aria-label": "share of the limit" })),
        h("td", {}, one.action));
    })))) : h("p", { class: "muted" }, "No limit acts by itself here."));
}

function evidence(rollout) {
  const found = rollout.judgment.evidence.filter((one) => one.needed);
  if (!found.length) return null;
  const bar = (one) => {
    const part = Math.min(1, Math.log(Math.max(one.value ?? 1, 1)) / Math.log(one.needed));
    return h("tr", {}, h("th", { scope: "row" }, one.name.replace("latency_", "").replaceAll("_", " ")),
      h("td", {}, one.against ? "is worse" : "is as good"),
      h("td", {}, h("progress", { class: one.against ? "against" : "", max: "1", value: part.toFixed(3), "aria-label": `${one.name}: share of the evidence needed` })),
      h("td", { class: "number" }, `${Math.floor(part * 100)} %`));
  };
  return h("section", { class: "card" }, h("h2", {}, "Evidence about v2"), h("div", { class: "scroll", tabindex: "0" }, h("table", {},
    h("thead", {}, h("tr", {}, ["Test", "That v2", "Shown", ""].map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", {}, found.sort((a, b) => Number(a.against) - Number(b.against)).map(bar)))));
}

function backends(rollout) {
  return h("section", { class: "card" }, h("h2", {}, "Endpoints"), h("p", {}, "Breaker to v2: ", pill({ closed: "good", disabled: "idle" }[rollout.breaker] ?? "bad", rollout.breaker.replace("_", " "))),
    h("div", { class: "scroll", tabindex: "0" }, h("table", {}, h("thead", {}, h("tr", {}, ["Path", "Endpoint", "State", "Under way"].map((one) => h("th", { scope: "col" }, one)))),
      h("tbody", {}, rollout.endpoints.map((one) => h("tr", {}, h("td", { class: one.path }, one.path), h("td", { class: "url" }, one.url),
        h("td", {}, one.healthy ? one.ejected ? pill("bad", "ejected") : pill("good", "healthy") : pill("bad", "unhealthy")), h("td", { class: "number" }, one.outstanding)))))));
}

function distributions(rollout, plan) {
  const { v1, v2 } = rollout.recent.paths;
  const limits = limitsOf(rollout, plan).filter((one) => /^latency_p[0-9]+$/.test(one.metric) && one.name.includes(" above "));
  return spread(rollout.latencies, { v1: v1.requests ? v1.latency_ms : null, v2: v2.requests ? v2.latency_ms : null },
    limits.map((one) => ({ value: one.limit * 1000, name: `${one.metric.slice(8)}: ${one.action} at ${reading(one.metric, one.limit)}` })));
}

function timeline(events, now) {
  return h("section", { class: "card", "data-key": "events" }, h("h2", {}, "What has happened"), events.length ? h("ol", { class: "events", tabindex: "0", "aria-label": "Events, newest first" }, events.map((one) => {
    const moved = one.changes_state && stand(one.before) !== stand(one.after);
    const lost = moved && (one.after.state === "rolled_back" || one.after.state === "aborted");
    const tone = lost ? "bad" : !moved ? one.cause.startsWith("alert:") ? "wait" : "idle" : one.after.percentage >= one.before.percentage ? "good" : "wait";
    return h("li", { class: tone, "data-key": one.seq }, h("time", { datetime: one.at, title: one.at }, clock(one.at), h("small", { class: "muted" }, ago(one.at, now))),
      h("div", {}, h("strong", {}, moved ? `${stand(one.before)} → ${stand(one.after)}` : one.cause.replaceAll("_", " ").replace(":", ": ")),
        h("p", {}, one.reason || DASH), h("p", { class: "muted" }, `${one.cause} by ${one.actor}`)));
  })) : h("p", { class: "muted" }, "Nothing has happened yet."));
}

function stand(state) {
  return `${WORDS[state.state] ?? state.state}${state.phase ? ` ${state.phase}` : ""} ${percent(state.percentage)}`;
}

function pill(tone, text) {
  return h("span", { class: `pill ${tone}` }, text);
}

export function loginForm(error) {
  return h("section", { class: "card login", "data-key": "login" }, h("h1", {}, "Log in"), h("form", { id: "login" },
    h("label", { for: "token" }, "Token"), h("input", { id: "token", type: "password", autocomplete: "current-password", required: true }),
    h("p", { class: "error", role: "alert" }, error), h("button", { type: "submit", class: "primary" }, "Log in"),
    h("p", { class: "muted" }, "One of admin.tokens. Viewers look, operators also act.")));
}
