// What holds the page together: who looks, which rollout is chosen, what has come, and what is done about it.

import { h, patch } from "/dashboard/dom.js";
import { moment, stepped } from "/dashboard/charts.js";
import { ms, percent, share } from "/dashboard/format.js";
import { Past, limitsOf, standing, tolerable } from "/dashboard/figures.js";
import { Live, get, logout, post, session, whoami } from "/dashboard/live.js";
import { loginForm, oneRollout, rolloutList } from "/dashboard/view.js";

const MOST_EVENTS = 100;
const STALE_S = 4;
const page = { status: null, plans: {}, events: [], pasts: {}, live: null, span: 5, cursor: null, cursorKey: null,
  skew: 0, charts: [], loaded: null, remembered: "", error: "" };
const $ = (id) => document.getElementById(id);

// ... what comes

async function begin() {
  try {
    await whoami();
  } catch (error) {
    page.error = String(error.message);
    setTimeout(begin, 2000);
    return;
  }
  if (session.name === null) return show();
  try {
    const { events } = await get(`/api/v1/events?after=-1&limit=${MOST_EVENTS}`);
    page.events = events.reverse();
    page.live?.close();
    page.live = new Live(page.events[0]?.seq ?? 0, { status, audit, refused: show });
  } catch {
    setTimeout(begin, 2000);
  }
  show();
}

function status(document) {
  page.status = document;
  const at = new Date(document.at).getTime();
  page.skew = at - Date.now();
  for (const rollout of document.rollouts) (page.pasts[rollout.name] ??= new Past()).take(at, rollout);
  if (page.loaded !== document.config.loaded_at) readPlans(document.config.loaded_at);
  readMinutes(at);
  show();
}

function audit(event) {
  if (page.events.some((one) => one.seq === event.seq)) return;
  page.events = [event, ...page.events].slice(0, MOST_EVENTS);
  if (event.changes_state) say(`${event.rollout}: ${event.after.state.replace("_", " ")} at ${percent(event.after.percentage)}. ${event.reason}`);
  show();
}

async function readPlans(loaded) {
  page.loaded = loaded;
  try {
    const { rollouts } = await get("/api/v1/config");
    page.plans = Object.fromEntries(rollouts.map((one) => [one.name, one]));
  } catch {
    page.loaded = null;
  }
}

async function readMinutes(now) {
  const rollout = chosen();
  const wanted = rollout && `${rollout.name} ${Math.floor(now / 60_000)} ${page.span}`;
  if (!rollout || wanted === page.remembered) return;
  page.remembered = wanted;
  try {
    const from = Math.floor(now / 1000) - Math.max(60, page.span) * 60;
    const { minutes } = await get(`/api/v1/rollouts/${encodeURIComponent(rollout.name)}/minutes?from=${from}`);
    page.pasts[rollout.name].remember(minutes);
  } catch {
    // the store does not answer: what has come since the page was opened is shown all the same
  }
}

// ... what is shown

function chosen() {
  const rollouts = page.status?.rollouts ?? [];
  const name = decodeURIComponent(location.hash.replace(/^#\//, ""));
  return rollouts.find((one) => one.name === name) ?? (name ? undefined : rollouts[0]);
}

function show() {
  frame();
  if (session.name === null) {
    page.live?.close();
    if (!$("login")) patch($("main"), loginForm(""));
    return;
  }
  if (!page.status) return;
  const rollout = chosen();
  const now = Date.now() + page.skew;
  const parts = [];
  if (page.status.rollouts.length > 1 || !rollout) parts.push(rolloutList(page.status.rollouts, page.plans, rollout?.name));
  if (rollout) {
    const plan = page.plans[rollout.name];
    const past = page.pasts[rollout.name];
    const earliest = now - page.span * 60_000;
    const from = Math.max(earliest, Math.min(past.since(earliest)[0]?.t ?? now, now - 60_000));
    const events = page.events.filter((one) => one.rollout === rollout.name);
    page.charts = charts(rollout, plan, past.since(from), events, { from, to: now });
    parts.push(oneRollout(rollout, plan, { operator: session.operator, now, events, charts: page.charts, span: page.span,
      cursor: page.cursor !== null && page.cursor >= from ? page.cursor : null, last: past.points.at(-1) }));
    document.title = `${standing(rollout, plan).head} · ${rollout.name} · dualpath`;
  }
  patch($("main"), parts);
}

function frame() {
  const { status, live } = page;
  const silent = live ? live.silence() : Infinity;
  const stale = silent > STALE_S;
  $("live").className = `live ${!status ? "" : stale ? "bad" : "good"}`;
  set($("live"), session.name === null || !status ? "" : stale ? `stale: nothing for ${Math.floor(silent)} s` : "live");
  document.body.classList.toggle("stale", Boolean(status) && stale && session.name !== null);
  set($("instance"), status ? `${status.instance} · ${status.version}` : "");
  set($("who"), session.name === null ? "" : `${session.name} (${session.operator ? "operator" : "viewer"})`);
  $("logout").hidden = !(session.login && session.name !== null);
  $("stop").hidden = !session.operator;
  const trouble = [];
  if (status?.store.waiting) trouble.push(`The store does not work: ${status.store.waiting} changes are in force and not stored. Nothing goes up meanwhile.`);
  if (status?.config.error) trouble.push(`A newer configuration was refused: ${status.config.error}`);
  $("banner").hidden = !trouble.length;
  set($("banner"), trouble.join(" "));
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function charts(rollout, plan, points, events, { from, to }) {
  const line = (name, key, style) => ({ name, line: style, points: points.map((one) => [one.t, one[key]]) });
  const phase = plan?.phases?.find((one) => one.name === rollout.phase)?.require ?? {};
  const above = (metric, unit) => limitsOf(rollout, plan).filter((one) => one.metric === metric && one.name.includes(" above ")).map(
    (one) => ({ name: `${one.action} at ${unit(one.limit)}`, value: one.limit }));
  const asked = (key) => (phase[key] ? [{ name: `next phase below ${share(phase[key])}`, value: phase[key] }] : []);
  const marks = events.filter((one) => one.changes_state).map((one) => ({ t: new Date(one.at).getTime(), name: `${one.after.state} ${percent(one.after.percentage)}`,
    tone: one.after.percentage < one.before.percentage ? "bad" : "good" }));
  const base = { from, to, marks, limits: [] };
  const most = tolerable(plan, rollout.recent.paths.v1.error_rate);
  const inMs = (metric) => above(metric, (value) => ms(value * 1000)).map((one) => ({ ...one, value: one.value * 1000 }));
  const latency = (name) => ({ ...base, key: name, title: `Latency ${name}`, unit: ms, series: [line("v1", `${name}_1`, "v1"), line("v2", `${name}_2`, "v2")], limits: inMs(`latency_${name}`) });
  return [
    { ...base, key: "errors", title: "Errors of attempts, before any fallback", unit: share, least: 0.002, near: 0.12, most: 1,
      series: [line("v1", "err1", "v1"), line("v2", "err2", "v2")], limits: [...above("error_rate", share), ...asked("error_rate_below")] },
    { ...base, key: "difference", title: "v2’s errors minus v1’s, last minute", signed: true, unit: (value) => `${value > 0 ? "+" : ""}${(value * 100).toFixed(2)}`, least: 0.002,
      series: [{ name: "points", line: "v2", points: points.map((one) => [one.t, one.recent?.value ?? null]) }],
      band: points.filter((one) => one.recent).map((one) => [one.t, one.recent.low, one.recent.high]),
      limits: most === null ? [] : [{ name: `${(most * 100).toFixed(2)} points are tolerable`, value: most }] },
    { ...base, key: "clients", title: "What clients saw, and fallbacks to v1", unit: share, least: 0.002, near: 0.12, most: 1,
      series: [line("errors", "cerr", "client"), line("fallbacks", "fb", "fallback")], limits: [...above("client_error_rate", share), ...above("fallback_rate", share)] },
    { ...base, key: "rps", title: "Requests", unit: (value) => `${Number(value.toFixed(1))}/s`, series: [line("v1", "rps1", "v1"), line("v2", "rps2", "v2")] },
    latency("p50"), latency("p95"), latency("p99"),
    { ...base, key: "share", title: "Share of v2", unit: (value) => percent(value, 1), most: 100, series: [
      { name: "target", line: "target", points: points.map((one) => [one.t, one.pct]) },
      { name: "observed", line: "v2", points: points.map((one) => [one.t, one.rps1 + one.rps2 > 0 ? (100 * one.rps2) / (one.rps1 + one.rps2) : null]) }] },
  ];
}

function say(text) {
  $("said").textContent = text;
}

// ... what is done

const MEANINGS = {
  start: "The plan begins with its first phase; without phases, v2 gets the configured share.",
  pause: "v2 keeps its share and nothing moves by itself; guards go on watching.",
  resume: "It goes on where it was paused.",
  promote: "The next phase begins now, whatever its criteria say.",
  rollback: "v2 gets nothing any more, at once.",
  emergency_stop: "Every rollout is rolled back to 0 at once, before any store is asked.",
};
const RAISES = new Set(["start", "resume", "promote"]);
let asking = null;

function ask(verb) {
  const rollout = verb === "emergency_stop" ? null : chosen();
  asking = { verb, name: rollout?.name, revision: rollout?.revision };
  const title = verb === "emergency_stop" ? "Emergency stop" : verb[0].toUpperCase() + verb.slice(1);
  $("ask-title").textContent = rollout ? `${title} ${rollout.name}?` : `${title}?`;
  $("ask-what").textContent = MEANINGS[verb];
  $("ask-yes").textContent = title;
  $("ask-yes").className = RAISES.has(verb) || verb === "pause" ? "primary" : "danger";
  $("ask-error").textContent = "";
  $("ask-reason").value = "";
  $("ask").showModal();
  $("ask-reason").focus();
}

async function act(event) {
  event.preventDefault();
  const { verb, name, revision } = asking;
  const reason = $("ask-reason").value.trim();
  const body = { ...(reason ? { reason } : {}), ...(RAISES.has(verb) ? { revision } : {}) };
  const path = name === undefined ? "/api/v1/emergency_stop" : `/api/v1/rollouts/${encodeURIComponent(name)}/${verb}`;
  $("ask-yes").disabled = true;
  try {
    const done = await post(path, body);
    $("ask").close();
    say(`${verb.replace("_", " ")}: done${done.stored === false ? ", not stored yet" : ""}`);
  } catch (error) {
    $("ask-error").textContent = error.message;
    if (error.status === 401) begin();
  } finally {
    $("ask-yes").disabled = false;
  }
}

async function login(event) {
  event.preventDefault();
  try {
    await whoami($("token").value);
    patch($("main"), h("p", { class: "muted pad" }, "Loading …"));
    begin();
  } catch (error) {
    patch($("main"), loginForm(error.message));
    $("token").select();
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.verb) ask(button.dataset.verb);
  if (button.dataset.span) {
    page.span = Number(button.dataset.span);
    page.remembered = "";
    show();
  }
});
document.addEventListener("submit", (event) => (event.target.id === "login" ? login(event) : act(event)));
document.addEventListener("pointermove", (event) => {
  const svg = event.target.closest?.("svg[data-chart]");
  const chart = svg && page.charts.find((one) => one.key === svg.dataset.chart);
  const at = chart ? moment(chart, svg, event.clientX) : null;
  if (at !== page.cursor && (at !== null || !page.held)) {
    page.cursor = at;
    page.held = false;
    show();
  }
});
document.addEventListener("keydown", (event) => {
  const svg = event.target.closest?.("svg[data-chart]");
  const steps = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!svg || !(steps || event.key === "Escape")) return;
  const chart = page.charts.find((one) => one.key === svg.dataset.chart);
  page.cursor = steps ? stepped(chart, page.cursor, steps) : null;
  page.held = page.cursor !== null;
  event.preventDefault();
  show();
});
$("ask-no").addEventListener("click", () => $("ask").close());
$("logout").addEventListener("click", async () => {
  page.live?.close();
  page.live = page.status = null;
  await logout().catch(() => Object.assign(session, { name: null, operator: false, csrf: null }));
  show();
});
$("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme.startsWith("dark");
  localStorage.setItem("theme", dark ? "light" : "dark");
  theme();
});
function theme() {
  const kept = localStorage.getItem("theme");
  const dark = kept ? kept === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
window.addEventListener("hashchange", () => { page.remembered = ""; page.cursor = null; show(); });
setInterval(() => page.live && frame(), 1000);
theme();
begin();
