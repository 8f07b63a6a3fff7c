// What the figures mean: where a rollout stands in words, how far its phase has come, and its past as series.
// Documents of the API in, plain values out; nothing here touches the page.

import { count, duration, percent, seconds } from "/dashboard/format.js";

const TIME = /^([0-9]+) s of [0-9.e+]+ s$/;
const REQUESTS = /^([0-9,]+) of [0-9,]+ requests$/;
const REQUIRED = {
  error_rate_below: "error_rate", success_rate_above: "success_rate", client_error_rate_below: "client_error_rate",
  fallback_rate_below: "fallback_rate", latency_p50_below: "latency_p50", latency_p95_below: "latency_p95",
  latency_p99_below: "latency_p99", improvement_above: "improvement", no_alerts: "an alert fires", health: "health",
  cache_hit_rate_above: "cache_hit_rate",
};

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
  if (crossed) return { tone: "bad", head: `A limit is crossed${where ? ` in ${where}` : ""}`, why: [`${crossed.name}: ${crossed.action} follows unless that ends at once.`, ...judgment.missing.map(waiting)] };
  if (state === "completed") return { tone: "good", head: `Completed: v2 has ${percent(rollout.percentage)}`, why: because };
  if (!phases.length) return { tone: "good", head: "A fixed split, nothing is wrong", why: ["It has no phases: only people move it up."] };
  if (judgment.missing.length) return { tone: "wait", head: `Holding in ${where}`, why: judgment.missing.map(waiting) };
  if (judgment.verdict === "hold") return { tone: "wait", head: `Holding in ${where}`, why: judgment.reasons };
  const next = phases[place + 1];
  return { tone: "good", head: `${where} has passed`, why: [next ? `${next.name} is next.` : "It was the last phase."] };
}

function waiting(text) {
  const time = TIME.exec(text);
  if (time) return `Its time is not over: ${duration(Number(time[1]))} have passed.`;
  return REQUESTS.test(text) ? `It needs more requests on v2: ${text}.` : text;
}

/** What the present phase asks for: [{name, share 0..1, text}]. What `missing` does not name is met. */
export function criteria(rollout, plan) {
  const phase = plan?.phases?.find((one) => one.name === rollout.phase);
  const { judgment } = rollout;
  if (!phase || rollout.state !== "running") return [];
  const found = [];
  const least = seconds(phase.min_duration);
  if (least > 0) {
    const done = counted(TIME, judgment.missing);
    found.push({ name: "time", share: done === null ? 1 : Math.min(done / least, 1),
      text: done === null ? `${duration(least)} are over` : `${duration(least - done)} left of ${duration(least)}` });
  }
  const wanted = Math.max(phase.min_requests ?? 0, 1);
  const have = counted(REQUESTS, judgment.missing);
  if (wanted > 1 || have !== null) {
    found.push({ name: "requests on v2", share: have === null ? 1 : Math.min(have / wanted, 1),
      text: have === null ? `${count(wanted)} are there` : `${count(wanted - have)} more needed of ${count(wanted)}` });
  }
  for (const [key, limit] of Object.entries(phase.require ?? {})) {
    if (!(key in REQUIRED) || limit === false || limit === null) continue;
    const unmet = judgment.missing.find((text) => text.startsWith(REQUIRED[key]));
    found.push({ name: key.replaceAll("_", " "), share: unmet ? 0 : 1, text: unmet ?? limitText(key, limit) });
  }
  if (plan.judge?.promotion === "evidence" && (rollout.percentage < 100 || plan.judge.holdback)) {
    for (const one of judgment.evidence.filter((reading) => !reading.against && reading.needed)) {
      const share = one.value >= one.needed ? 1 : Math.log(Math.max(one.value, 1)) / Math.log(one.needed);
      const more = judgment.missing.join(" ").match(/about ([0-9,]+) more requests/);
      const isErrors = one.name === "errors";
      found.push({ name: isErrors ? "fails as seldom as v1" : `${one.name.replace("latency_", "")} as fast as v1`, share,
        text: share >= 1 ? "shown" : `${Math.floor(share * 100)} % shown${more ? `, about ${more[1]} requests more` : ""}` });
    }
  }
  return found.sort((a, b) => (a.share >= 1) - (b.share >= 1)); // what is missing comes first
}

function limitText(key, limit) {
  if (limit === true) return "met";
  return typeof limit === "number" && /rate|health/.test(key) ? `met: ${key.endsWith("above") || key === "health" ? "≥" : "<"} ${percent(limit * 100)}` : `met: ${limit}`;
}

function counted(pattern, missing) {
  for (const text of missing) {
    const match = pattern.exec(text);
    if (match) return Number(match[1].replaceAll(",", ""));
  }
  return null;
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

  since(from) {
    const live = this.points[0]?.t ?? Infinity;
    return [...this.minutes.filter((one) => one.t < live), ...this.points].filter((one) => one.t >= from);
  }
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
