// Lines over time, as SVG of our own: series, limits, an interval as a band, and marks where something happened.
// Arrow keys and the pointer read a moment off; the figures then stand in the legend.

import { h } from "/dashboard/dom.js";

const WIDTH = 560;
const HEIGHT = 190;
const LEFT = 58;
const RIGHT = 10;
const TOP = 12;
const BOTTOM = 24;
const GAP_MS = 150_000; // a longer silence is no line

/**
 * `chart`: title, unit(value), from, to (ms), series [{name, line, points [[t, value]]}], limits [{name, value}],
 * band [[t, low, high]], marks [{t, tone, name}], signed. `at` is the moment that is read off, or null.
 */
export function draw(chart, at) {
  const [low, high] = range(chart);
  const x = (t) => LEFT + ((t - chart.from) / (chart.to - chart.from)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const place = { x, y, low, high };
  const shown = beside(chart.limits.filter((one) => one.value <= high && one.value >= low), y);
  return h("figure", { class: "chart", "data-key": chart.key },
    h("figcaption", {}, h("strong", {}, chart.title), legend(chart, at, high, low)),
    h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", tabindex: "0", "aria-label": spoken(chart), "data-chart": chart.key },
      grid(chart, place),
      chart.band?.length ? h("path", { class: "band", d: area(chart.band, place) }) : null,
      chart.marks.filter((one) => one.t >= chart.from && one.t <= chart.to).map((one) =>
        h("line", { class: `mark ${one.tone}`, x1: x(one.t), x2: x(one.t), y1: TOP, y2: HEIGHT - BOTTOM }, h("title", {}, one.name))),
      shown.map((one) => [
        h("line", { class: "limit", x1: LEFT, x2: WIDTH - RIGHT, y1: y(one.value), y2: y(one.value) }),
        h("text", { class: "limit-name", x: LEFT + 5 + one.along, y: y(one.value) < TOP + 14 ? y(one.value) + 13 : y(one.value) - 5 }, one.name)]),
      chart.series.map((one) => h("path", { class: `line ${one.line}`, d: path(one.points, place) })),
      at === null ? null : h("line", { class: "cursor", x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM }),
      chart.series.some((one) => one.points.length) ? null
        : h("text", { class: "empty", x: (LEFT + WIDTH) / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "nothing in this time")));
}

/** Limits whose names would stand on one another, with how far along their line each has its name. */
function beside(limits, y) {
  let before = { at: -Infinity, along: 0 };
  return [...limits].sort((a, b) => b.value - a.value).map((one) => {
    const at = y(one.value);
    before = { at, along: at - before.at < 13 ? before.along + 115 : 0 };
    return { ...one, along: before.along };
  });
}

/** The moment under the pointer, or `steps` points further on; null outside. */
export function moment(chart, svg, clientX) {
  const box = svg.getBoundingClientRect();
  const t = chart.from + (((clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT) * (chart.to - chart.from);
  return t < chart.from || t > chart.to ? null : t;
}

export function stepped(chart, at, steps) {
  const times = [...new Set(chart.series.flatMap((one) => one.points.map(([t]) => t)))].sort((a, b) => a - b);
  if (!times.length) return null;
  const place = at === null ? times.length - 1 : times.findIndex((t) => t >= at);
  return times[Math.max(0, Math.min(times.length - 1, (place < 0 ? times.length - 1 : place) + steps))];
}

function range(chart) {
  const values = chart.series.flatMap((one) => one.points.map(([, value]) => value)).filter((one) => one !== null);
  const [, under, over] = chart.band?.at(-1) ?? [0, 0, 0]; // an interval is wide at first: what counts is where it is now
  let high = Math.max(chart.least ?? 0, ...values, over * 1.3);
  let low = chart.signed ? Math.min(-(chart.least ?? 0), ...values, under * 1.3) : 0;
  for (const { value } of chart.limits) if (value > high && value <= Math.max(high * 12, chart.near ?? 0)) high = value;
  high = high > 0 ? high * 1.12 : 1;
  low = low < 0 ? low * 1.12 : 0;
  return [low, chart.most ? Math.min(high, chart.most) : high];
}

function grid(chart, { x, y, low, high }) {
  const step = nice((high - low) / 4);
  const lines = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-12; value += step) {
    lines.push(h("line", { class: Math.abs(value) < step / 1e6 ? "axis" : "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      h("text", { class: "tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, chart.unit(Math.abs(value) < step / 1e6 ? 0 : value)));
  }
  const span = (chart.to - chart.from) / 4;
  for (let part = 0; part <= 4; part += 1) {
    const t = chart.from + part * span;
    const anchor = part === 0 ? "start" : part === 4 ? "end" : "middle";
    const text = new Date(t).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: span < 120_000 ? "2-digit" : undefined });
    lines.push(h("text", { class: "tick", x: x(t), y: HEIGHT - 7, "text-anchor": anchor }, text));
  }
  return lines;
}

function nice(step) {
  const size = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 2.5, 5, 10].find((one) => one * size >= step) * size;
}

function path(points, { x, y, low, high }) {
  let text = "";
  let before = null;
  for (const [t, value] of points) {
    if (value !== null) {
      const joined = before !== null && t - before < GAP_MS;
      text += `${joined ? "L" : "M"}${x(t).toFixed(1)} ${y(Math.min(Math.max(value, low), high)).toFixed(1)}`;
      before = t;
    } else before = null;
  }
  return text;
}

function area(band, { x, y, low, high }) {
  const held = (value) => y(Math.min(Math.max(value, low), high)).toFixed(1);
  const over = band.map(([t, , top]) => `${x(t).toFixed(1)} ${held(top)}`);
  const under = band.map(([t, bottom]) => `${x(t).toFixed(1)} ${held(bottom)}`).reverse();
  return `M${[...over, ...under].join("L")}Z`;
}

function value(points, at) {
  const found = at === null ? points.findLast(([, one]) => one !== null)
    : points.reduce((best, one) => (one[1] !== null && (!best || Math.abs(one[0] - at) < Math.abs(best[0] - at)) ? one : best), null);
  return found ? found[1] : null;
}

function legend(chart, at, high, low) {
  const far = chart.limits.filter((one) => one.value > high || one.value < low);
  return h("span", { class: "legend" },
    at === null ? null : h("span", { class: "muted" }, new Date(at).toLocaleTimeString("en-GB")),
    chart.series.map((one) => {
      const read = value(one.points, at);
      return h("span", { class: `key ${one.line}` }, `${one.name} `, h("b", {}, read === null ? "–" : chart.unit(read)));
    }),
    far.map((one) => h("span", { class: "muted" }, `${one.name} (off the scale)`)));
}

function spoken(chart) {
  const parts = chart.series.map((one) => {
    const read = value(one.points, null);
    return `${one.name} ${read === null ? "unknown" : chart.unit(read)}`;
  });
  return `${chart.title}, now: ${parts.join(", ")}. ${chart.limits.map((one) => one.name).join(", ")}`;
}
