// How latencies spread: both paths' histograms over one another, each as shares of its own requests, so that ten
// percent of the traffic are as tall as ninety.

import { h } from "/dashboard/dom.js";
import { duration, ms, share } from "/dashboard/format.js";

const WIDTH = 560;
const HEIGHT = 190;
const LEFT = 58;
const RIGHT = 10;
const TOP = 12;
const BOTTOM = 24;
const TICKS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000];

/** `latencies` as the API has them: per path [from, to, count] in milliseconds; `limits` in milliseconds too. */
export function spread(latencies, quantiles, limits) {
  const sides = ["v1", "v2"].map((name) => ({ name, parts: shares(latencies[name]) }));
  const parts = sides.flatMap((one) => one.parts);
  const low = Math.min(...parts.map(([from]) => from), Infinity);
  const high = Math.max(...parts.map(([, to]) => to), -Infinity);
  const tallest = Math.max(...parts.map(([, , part]) => part), 0) * 1.08;
  const from = Math.log(Math.max(low, 0.004) / 1.3);
  const to = Math.log(high * 1.3);
  const x = (value) => LEFT + ((Math.log(Math.max(value, 0.003)) - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
  const y = (part) => TOP + (1 - part / tallest) * (HEIGHT - TOP - BOTTOM);
  const known = parts.length > 0;
  return h("figure", { class: "chart", "data-key": "spread" },
    h("figcaption", {}, h("strong", {}, "How latencies spread"), h("span", { class: "legend" },
      sides.map(({ name }) => h("span", { class: `key ${name}` }, `${name} `, h("b", {}, told(quantiles[name])))),
      h("span", { class: "muted" }, `the last ${duration(latencies.window_s)}`))),
    h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "spread", "aria-label": `How latencies spread: ${sides.map(
      ({ name }) => `${name} ${told(quantiles[name])}`).join("; ")}` },
      known ? [axis(x, y, low, high, tallest),
        sides.map(({ name, parts: own }) => h("path", { class: `area ${name}`, d: outline(own, x, y) })),
        sides.filter(({ parts: own }) => own.length).map(({ name }) =>
          h("line", { class: `middle ${name}`, x1: x(quantiles[name].p50), x2: x(quantiles[name].p50), y1: TOP, y2: y(0) },
            h("title", {}, `${name} p50 ${ms(quantiles[name].p50)}`))),
        limits.filter(({ value }) => value >= low / 1.3 && value <= high * 1.3).map(({ name, value }) => [
          h("line", { class: "limit", x1: x(value), x2: x(value), y1: TOP, y2: y(0) }),
          h("text", { class: "limit-name", x: x(value) - 4, y: TOP + 9, "text-anchor": "end" }, name)])]
        : h("text", { class: "empty", x: (LEFT + WIDTH) / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "no request in this time")));
}

function shares(buckets) {
  const all = buckets.reduce((sum, [, , count]) => sum + count, 0);
  return buckets.map(([from, to, count]) => [from, to, count / all]);
}

function told(quantiles) {
  return quantiles ? ["p50", "p95", "p99"].map((name) => `${name} ${ms(quantiles[name])}`).join(", ") : "–";
}

function outline(parts, x, y) {
  let text = "";
  let end = null;
  for (const [from, to, part] of parts) {
    if (end !== from) text += `${end === null ? "" : `L${x(end).toFixed(1)} ${y(0)}`}M${x(from).toFixed(1)} ${y(0)}`;
    text += `L${x(from).toFixed(1)} ${y(part).toFixed(1)}L${x(to).toFixed(1)} ${y(part).toFixed(1)}`;
    end = to;
  }
  return end === null ? "" : `${text}L${x(end).toFixed(1)} ${y(0)}`;
}

function axis(x, y, low, high, tallest) {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5].find((one) => tallest / one <= 4.5) ?? 1;
  const lines = [];
  for (let part = 0; part <= tallest; part += step) {
    lines.push(h("line", { class: part ? "grid" : "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(part), y2: y(part) }),
      h("text", { class: "tick", x: LEFT - 6, y: y(part) + 4, "text-anchor": "end" }, share(part)));
  }
  return [...lines, TICKS.filter((one) => one >= low / 1.3 && one <= high * 1.3).map((one) =>
    h("text", { class: "tick", x: x(one), y: HEIGHT - 7, "text-anchor": "middle" }, one < 1 ? `${one} ms` : one < 1000 ? `${one} ms` : `${one / 1000} s`))];
}
