// What the figures mean: where a rollout stands in words, how far its phase has come, and its past as series.
// Documents of the API in, plain values out; nothing here touches the page.

import { count, duration, ms, percent, seconds } from "/dashboard/format.js";

const NAMES = { min_duration: "time", min_requests: "requests on v2", no_alerts: "no alert" };
const OBSTACLE = "evidence:regression"; // it must stay below: nothing to wait for

/** The sentence at the top: `tone` is good, wait, bad or idle. */
export function standing(rollout, plan) {
  const { state, judgment } = rollout;
  const phases = plan?.phases ?? [];
  const place = phases.findIndex((one) => one.name === rollout.phase);
  const where = rollout.phase ? `${rollout.phase}${place < 0 ? "" : ` (${place + 1} of ${phases.length})`}` : "";
  const said = { tone: "idle", head: "", why: [] };
  const because = rollout.reason ? rollout.reason.split("; ") : [];
  if (state === "disabled") return { ...said, head: "Not started", why: ["All traffic goes to v1.", ...because] };
  if (state === "rolled_back") return { tone: "bad", head: `Rolled back to ${percent(rollout.percentage)}`, why: because };
  if (state === "aborted") return { tone: "bad", head: "Aborted: v2 gets nothing", why: because };
  if (state === "paused") return { tone: "wait", head: `Paused${where ? ` in ${where}` : ""}`, why: [...because, "Guards go on watching."] };
  if (judgment.verdict === "fail") return { tone: "bad", head: "v2 is failing", why: judgment.reasons };
  const crossed = rollout.guards.find((one) => one.crossed && one.action !== "alert");
  if (crossed) return { tone: "bad", head: `A limit is crossed${where ? ` in ${where}` : ""}`, why: [`${crossed.name}: ${crossed.action} follows unless that ends at once.`, ...waits(judgment)] };
  if (state === "completed") return { tone: "good", head: `Completed: v2 has ${percent(rollout.percentage)}`, why: because };
  if (!phases.length) return { tone: "good", head: "A fixed split, nothing is wrong", why: ["It has no phases: only people move it up."] };
  if (judgment.missing.length) return { tone: "wait", head: `Holding in ${where}`, why: waits(judgment) };
  if (judgment.verdict === "hold") return { tone: "wait", head: `Holding in ${where}`, why: judgment.reasons };
  const next = phases[place + 1];
  return { tone: "good", head: `${where} has passed`, why: [next ? `${next.name} is next.` : "It was the last phase."] };
}

/** What it waits for, in sentences: what is still needed where that is known, else the judge's words. */
function waits(judgment) {
  const needs = new Map(judgment.needs.map((one) => [one.text, one]));
  return judgment.missing.map((text) => {
    const need = needs.get(text);
    if (need?.criterion === "min_duration") return `Its time is not over: ${duration(need.need - need.have)} of ${duration(need.need)} are left.`;
    if (need?.criterion === "min_requests") return `It needs ${count(need.need - need.have)} more requests on v2 (${count(need.have)} of ${count(need.need)} are there).`;
    return text;
  });
}

/** What the present phase asks for: [{name, share 0..1, text}], what is missing first. */
export function criteria(rollout) {
  const { judgment } = rollout;
  const ofAnother = judgment.cause?.startsWith("phase:") && judgment.cause !== `phase:${rollout.phase}`;
  if (rollout.state !== "running" || ofAnother) return [];
  return judgment.needs
    .filter((need) => need.criterion !== OBSTACLE && !(need.criterion === "min_requests" && need.met && need.need <= 1))
    .map((need) => ({ name: named(need.criterion), share: need.met ? 1 : partOf(need), text: need.met ? metText(need) : missingText(need) }))
    .sort((a, b) => (a.share >= 1) - (b.share >= 1));
}

function named(criterion) {
  if (criterion === "evidence:errors") return "fails as seldom as v1";
  if (criterion.startsWith("evidence:")) return `${criterion.slice(9).replace("latency_", "")} as fast as v1`;
  return NAMES[criterion] ?? criterion.replaceAll("_", " ");
}

/** Evidence multiplies, so that its logarithm grows evenly with the requests. */
function partOf({ have, need, unit, criterion }) {
  if (have === null || need <= 0) return 0;
  if (unit === "evidence") return Math.min(0.99, Math.log(Math.max(have, 1)) / Math.log(need));
  return criterion in NAMES && unit !== "alerts" ? Math.min(0.99, have / need) : 0;
}

function missingText(need) {
  if (need.criterion === "min_duration") return `${duration(Math.ceil(need.need - need.have))} left of ${duration(need.need)}`;
  if (need.criterion === "min_requests") return `${count(need.need - need.have)} more needed of ${count(need.need)}${inTime(need)}`;
  if (need.unit !== "evidence") return need.text;
  const more = need.requests === null ? "" : `, about ${count(Math.ceil(need.requests))} requests more`;
  return `${Math.floor(partOf(need) * 100)} % shown${more}${inTime(need)}`;
}

function inTime({ seconds: left }) {
  return left === null ? "" : `, about ${duration(Math.ceil(left))}`;
}

function metText({ criterion, have, need, unit }) {
  if (criterion === "min_duration") return `${duration(need)} are over`;
  if (criterion === "min_requests") return `${count(need)} are there`;
  if (unit === "evidence") return "shown";
  if (unit === "alerts") return "none fires";
  if (have === null) return "not reported";
  const told = (value) => (unit === "share" ? percent(value * 100, 2) : unit === "s" ? ms(value * 1000) : `${Number(value.toPrecision(3))}${unit === "%" ? " %" : ""}`);
  return `${told(have)}, asked: ${criterion.endsWith("above") || criterion === "health" ? "above" : "below"} ${told(need)}`;
}

/** The same as `standing` would say, from a line of the board alone. */
export function toneOf(row, plan) {
  if (row.state === "rolled_back" || row.state === "aborted") return "bad";
  if (row.state === "disabled") return "idle";
  if (row.state === "paused") return "wait";
  if (row.verdict === "fail" || row.crossed) return "bad";
  if (row.state === "completed" || !plan?.phases?.length) return "good";
  return row.waits || row.verdict === "hold" ? "wait" : "good";
}

/** The limits that act by themselves: as the judge reads them now, or as the plan has them while it reads none. */
export function limitsOf(rollout, plan) {
  if (rollout.guards.length) return rollout.guards;
  const require = plan?.phases?.find((one) => one.name === rollout.phase)?.abort_if ?? [];
  return [...(plan?.guards ?? []), ...require].map((one) => {
    const given = one.above ?? one.below;
    return { name: `${one.metric} ${one.above === undefined ? "below" : "above"} ${given}`, metric: one.metric, value: null,
      limit: typeof given === "string" ? seconds(given) : given, sample: 0, min_requests: 0, crossed: false, firing: false,
      action: one.action ?? "rollback" };
  });
}

/** The phase that a rollback has ended, if that is where it stands. */
export function failedPhase(rollout, events) {
  if (rollout.state !== "rolled_back" && rollout.state !== "aborted") return null;
  return events.find((one) => one.changes_state && one.before.phase)?.before.phase ?? null;
}

/** v2's error rate minus v1's with a 95 % interval (Newcombe's, from two Wilson intervals), in shares. */
export function difference(v1, v2) {
  if (!v1.requests || !v2.requests) return null;
  const [l1, u1] = wilson(v1.errors, v1.requests);
  const [l2, u2] = wilson(v2.errors, v2.requests);
  const p1 = v1.errors / v1.requests;
  const p2 = v2.errors / v2.requests;
  return { value: p2 - p1, low: p2 - p1 - Math.hypot(p2 - l2, u1 - p1), high: p2 - p1 + Math.hypot(u2 - p2, p1 - l1) };
}

function wilson(errors, n) {
  const z = 1.96;
  const p = errors / n;
  const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

/** By how much v2 may fail more often than v1 and not be called worse. */
export function tolerable(plan, v1Rate) {
  const table = plan?.judge?.tolerable;
  return table ? v1Rate * (table.ratio - 1) + table.points / 100 : null;
}

// ... the past: minutes that the store has kept, and what has come since this page was opened

const SMOOTH_MS = 10_000;
const KEEP_MS = 3_600_000;

/** The recent past of one rollout, from the status as it comes. */
export class Past {
  constructor() {
    this.seen = [];
    this.points = [];
    this.minutes = [];
  }

  take(at, rollout) {
    const now = { at, ...totals(rollout) };
    const last = this.seen.at(-1);
    if (last && (last.n1 > now.n1 || last.n2 > now.n2 || last.c > now.c)) this.seen = []; // it has started anew
    if (last && at <= last.at) return;
    this.seen.push(now);
    while (this.seen.length > 2 && this.seen[1].at <= at - SMOOTH_MS) this.seen.shift();
    const before = this.seen[0];
    if (before !== now) {
      this.points.push({ ...between(before, now), ...latencies(rollout.recent), pct: rollout.percentage,
        recent: difference(rollout.recent.paths.v1, rollout.recent.paths.v2) });
    }
    while (this.points.length && this.points[0].t < at - KEEP_MS) this.points.shift();
  }

  remember(minutes) {
    this.minutes = minutes.map((one) => {
      const end = new Date(one.at).getTime() + one.seconds * 1000;
      const zero = { at: end - one.seconds * 1000, n1: 0, e1: 0, n2: 0, e2: 0, c: 0, ce: 0, a2: 0, fb: 0 };
      return { ...between(zero, { at: end, ...totals(one) }), ...latencies(one), pct: one.percentage,
        recent: difference(one.paths.v1, one.paths.v2) };
    });
  }

  /** The last minutes as the proxy has kept them, second by second. They go before, and between, what has come. */
  seed(document) {
    const at = document.at.map((one) => new Date(one).getTime());
    const points = [];
    at.forEach((t, place) => {
      const rates = grown(document, at, place, SMOOTH_MS);
      if (rates === null) return;
      const minute = grown(document, at, place, 60_000);
      const side = (name) => ({ requests: minute.sum[`${name}_requests`], errors: minute.sum[`${name}_errors`] });
      const quantiles = Object.fromEntries(["p50", "p95", "p99"].flatMap((name) => [[`${name}_1`, document[`v1_${name}_ms`][place]], [`${name}_2`, document[`v2_${name}_ms`][place]]]));
      points.push({ ...rates.point, ...quantiles, t, pct: document.percentage[place], recent: difference(side("v1"), side("v2")) });
    });
    if (!points.length) return;
    const [from, to] = [points[0].t, points.at(-1).t];
    this.points = [...this.points.filter((one) => one.t < from), ...points, ...this.points.filter((one) => one.t > to)];
  }

  since(from) {
    const live = this.points[0]?.t ?? Infinity;
    return [...this.minutes.filter((one) => one.t < live), ...this.points].filter((one) => one.t >= from);
  }
}

/** What was counted in the last `span` before a place, as a point; null where nothing is known of it. */
function grown(document, at, place, span) {
  const sum = {};
  let first = place;
  while (first > 0 && at[first - 1] > at[place] - span) first -= 1;
  const known = document.v1_requests.slice(first, place + 1).filter((one) => one !== null).length;
  if (!known || document.v1_requests[place] === null) return null;
  for (const name of ["v1_requests", "v1_errors", "v2_requests", "v2_errors", "v2_assigned", "fallbacks", "client_requests", "client_errors"]) {
    sum[name] = document[name].slice(first, place + 1).reduce((all, one) => all + (one ?? 0), 0);
  }
  const zero = { at: at[place] - known * 1000, n1: 0, e1: 0, n2: 0, e2: 0, c: 0, ce: 0, a2: 0, fb: 0 };
  const point = between(zero, { at: at[place], n1: sum.v1_requests, e1: sum.v1_errors, n2: sum.v2_requests, e2: sum.v2_errors,
    a2: sum.v2_assigned, fb: sum.fallbacks, c: sum.client_requests, ce: sum.client_errors });
  return { sum, point };
}

function totals({ paths, client }) {
  return { n1: paths.v1.requests, e1: paths.v1.errors, n2: paths.v2.requests, e2: paths.v2.errors,
    a2: paths.v2.assigned, fb: paths.v2.fallbacks, c: client.requests, ce: client.errors };
}

function between(a, b) {
  const span = (b.at - a.at) / 1000;
  const of = (part, whole) => (whole > 0 ? Math.min(1, part / whole) : null); // what began before may end within
  return { t: b.at, rps1: (b.n1 - a.n1) / span, rps2: (b.n2 - a.n2) / span, err1: of(b.e1 - a.e1, b.n1 - a.n1),
    err2: of(b.e2 - a.e2, b.n2 - a.n2), cerr: of(b.ce - a.ce, b.c - a.c), fb: of(b.fb - a.fb, b.a2 - a.a2) };
}

function latencies({ paths }) {
  const of = (path, name) => (path.requests ? path.latency_ms[name] : null);
  return Object.fromEntries(["p50", "p95", "p99"].flatMap(
    (name) => [[`${name}_1`, of(paths.v1, name)], [`${name}_2`, of(paths.v2, name)]]));
}
