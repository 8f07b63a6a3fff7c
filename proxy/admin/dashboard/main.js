// What holds the page together: who looks, which rollout is chosen, what has come, and what is done about it.

import { h, patch } from "/dashboard/dom.js";
import { ask, carryOut } from "/dashboard/acting.js";
import { alertsCard, loudest } from "/dashboard/alerts.js";
import { moment, stepped } from "/dashboard/charts.js";
import { ms, percent, share } from "/dashboard/format.js";
import { Past, limitsOf, standing, tolerable } from "/dashboard/figures.js";
import { Missing, fleetCard, fleetTrouble } from "/dashboard/fleet.js";
import { Live, get, logout, session, whoami } from "/dashboard/live.js";
import { loginForm, oneRollout, rolloutList } from "/dashboard/view.js";

const MOST_EVENTS = 100;
const STALE_S = 4;
const page = { about: null, alerts: null, fleet: null, missing: new Missing(), names: [], rows: {}, looked: null, plans: {}, events: [], pasts: {}, live: null, span: 5,
  cursor: null, skew: 0, charts: [], loaded: null, remembered: "" };
const $ = (id) => document.getElementById(id);

// ... what comes

async function begin() {
  try {
    await whoami();
  } catch {
    setTimeout(begin, 2000);
    return;
  }
  if (session.name === null) return show();
  try {
    const { events } = await get(`/api/v1/events?after=-1&limit=${MOST_EVENTS}`);
    page.events = events.reverse();
    page.live?.close();
    page.live = new Live(page.events[0]?.seq ?? 0, { opened, board, rollout, audit, refused: show });
  } catch {
    setTimeout(begin, 2000);
  }
  show();
}

/** The stream has begun, or gone on after a break: what came meanwhile is asked for. */
function opened() {
  page.remembered = "";
  if (page.live.rollout === null) return;
  readSeconds(page.live.rollout);
  readEvents(page.live.rollout);
}

function board(document) {
  page.skew = new Date(document.at).getTime() - Date.now();
  for (const name of ["about", "alerts", "fleet", "names"]) if (name in document) page[name] = document[name];
  page.missing.take(page.fleet, new Date(document.at).getTime());
  for (const row of document.rollouts) page.rows[row.name] = row;
  if (page.loaded !== page.about.config.loaded_at) readPlans(page.about.config.loaded_at);
  page.live.look(chosen());
  if (page.live.rollout === null) show();
}

function rollout(document) {
  const at = new Date(document.at).getTime();
  page.looked = document;
  pastOf(document.name).take(at, document);
  readMinutes(at);
  show();
}

function pastOf(name) {
  return (page.pasts[name] ??= new Past());
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

async function readSeconds(name) {
  try {
    pastOf(name).seed(await get(`/api/v1/rollouts/${encodeURIComponent(name)}/seconds`));
    show();
  } catch {
    // what comes from now on is shown all the same
  }
}

async function readEvents(name) {
  try {
    const { events } = await get(`/api/v1/events?after=-1&limit=${MOST_EVENTS}&rollout=${encodeURIComponent(name)}`);
    const known = new Set(page.events.map((one) => one.seq));
    page.events = [...page.events, ...events.filter((one) => !known.has(one.seq))].sort((a, b) => b.seq - a.seq);
    show();
  } catch {
    // the store does not answer
  }
}

async function readMinutes(now) {
  const name = page.live.rollout;
  const wanted = name && `${name} ${Math.floor(now / 60_000)} ${page.span}`;
  if (!name || wanted === page.remembered) return;
  page.remembered = wanted;
  try {
    const from = Math.floor(now / 1000) - Math.max(60, page.span) * 60;
    const { minutes } = await get(`/api/v1/rollouts/${encodeURIComponent(name)}/minutes?from=${from}`);
    pastOf(name).remember(minutes);
  } catch {
    // the store does not answer: what the proxy remembers is shown all the same
  }
}

// ... what is shown

/** The name of the rollout that is looked at, null where there is none of that name. A fragment of another kind, as of
 * the link to the content, chooses nothing: what is looked at stays. */
function chosen() {
  const asked = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
  if (asked) return page.names.find((one) => encodeURIComponent(one) === asked || one === asked) ?? null; // "%" is no code
  return (location.hash && page.names.includes(page.looked?.name) ? page.looked.name : page.names[0]) ?? null;
}

function show() {
  frame();
  if (session.name === null) return showLogin();
  if (!page.about) return;
  const name = chosen();
  const now = Date.now() + page.skew;
  const parts = [];
  if (page.names.length > 1 || name === null) parts.push(rolloutList(page.names.map((one) => page.rows[one]), page.plans, name));
  const rollout = page.looked?.name === name ? page.looked : null;
  if (rollout) {
    const plan = page.plans[name];
    const past = pastOf(name);
    const earliest = now - page.span * 60_000;
    const from = Math.max(earliest, Math.min(past.since(earliest)[0]?.t ?? now, now - 60_000));
    const events = page.events.filter((one) => one.rollout === name);
    page.charts = charts(rollout, plan, past.since(from), events, { from, to: now });
    parts.push(oneRollout(rollout, plan, { operator: session.operator, now, events, charts: page.charts, span: page.span, alerts: page.alerts, fleet: fleet(rollout, now),
      cursor: page.cursor !== null && page.cursor >= from ? page.cursor : null, last: past.points.at(-1) }));
    document.title = `${standing(rollout, plan).head} · ${name} · dualpath`;
  } else {
    document.title = "dualpath";
    parts.push(h("p", { class: "muted pad", "data-key": "loading" }, name === null ? "There is no rollout of that name." : "Loading …"),
      h("div", { class: "columns", "data-key": "beside" }, alertsCard(page.alerts, null, { operator: session.operator, now }), fleet(null, now)));
  }
  const row = document.activeElement?.closest(".list tr")?.dataset.key;
  patch($("main"), parts);
  if (row && document.activeElement?.closest(".list tr")?.dataset.key !== row) rowOf(row)?.querySelector("a").focus({ preventScroll: true });
  if (page.revealed !== name) revealChosen();
  page.revealed = name;
}

/** A question that was open is answered by nobody any more. */
function showLogin() {
  page.live?.close();
  $("ask").close();
  document.title = "Log in · dualpath";
  if ($("login")) return;
  patch($("main"), loginForm(page.about ? "The session has ended." : ""));
  $("token").focus();
}

function rowOf(name) {
  return [...document.querySelectorAll(".list tbody tr")].find((one) => one.dataset.key === name);
}

/** The row of the rollout that is looked at, without moving the page. */
function revealChosen() {
  const list = document.querySelector(".list");
  const row = list?.querySelector("tr.chosen");
  if (row && (row.offsetTop < list.scrollTop || row.offsetTop + row.offsetHeight > list.scrollTop + list.clientHeight)) list.scrollTop = row.offsetTop - list.clientHeight / 2;
}

function fleet(rollout, now) {
  return fleetCard(page.fleet, rollout, page.missing.gone ?? [], now);
}

function frame() {
  const { about, alerts, live } = page;
  const silent = live ? live.silence() : Infinity;
  const stale = silent > STALE_S;
  $("live").className = `live ${session.name === null || !about ? "" : stale ? "bad" : "good"}`;
  set($("live"), session.name === null || !about ? "" : stale ? `stale: nothing for ${Math.floor(silent)} s` : "live");
  document.body.classList.toggle("stale", Boolean(about) && stale && session.name !== null);
  set($("instance"), about ? `${about.instance} · ${about.version}` : "");
  set($("who"), session.name === null ? "" : `${session.name} (${session.operator ? "operator" : "viewer"})`);
  $("logout").hidden = !(session.login && session.name !== null);
  $("stop").hidden = !session.operator;
  const loud = loudest(alerts);
  $("alerted").hidden = session.name === null || !loud.count;
  $("alerted").className = `quiet ${loud.tone}`;
  set($("alerted"), loud.count === 1 ? "1 alert" : `${loud.count} alerts`);
  const trouble = [];
  if (session.name === null) return void ($("banner").hidden = true);
  if (about?.store.trouble) trouble.push(`The store has not taken what was last written; until it does nothing goes up: ${about.store.trouble}.`);
  if (about?.store.waiting) trouble.push(`${about.store.waiting} changes are in force and not stored yet.`);
  if (fleetTrouble(page.fleet)) trouble.push(fleetTrouble(page.fleet));
  if (about?.config.error) trouble.push(`A newer configuration was refused: ${about.config.error}`);
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

async function act(event) {
  event.preventDefault();
  $("ask-yes").disabled = true;
  try {
    const done = await carryOut(page.looked);
    $("ask").close();
    say(done);
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
  if (button.dataset.act) ask(button.dataset, page.looked);
  if (button.id === "alerted") {
    $("alerts")?.scrollIntoView({ block: "center" });
    $("alerts")?.focus();
  }
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
  page.live = page.about = page.looked = page.fleet = null;
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
window.addEventListener("hashchange", () => {
  page.cursor = null;
  page.live?.look(chosen());
  show();
});
setInterval(() => page.live && frame(), 1000);
theme();
begin();
