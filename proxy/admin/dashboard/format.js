// Figures as a person reads them. The same words and units as on the command line.

export const DASH = "–";

export function percent(value, digits = 3) {
  return value === null || value === undefined ? DASH : `${Number(value.toFixed(digits))} %`;
}

export function share(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return DASH;
  const points = value * 100;
  return `${points === 0 ? "0" : points < 0.1 ? points.toFixed(3) : points < 10 ? points.toFixed(2) : points.toFixed(1)} %`;
}

export function ms(value) {
  if (value === null || value === undefined) return DASH;
  if (Math.abs(value) >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value.toFixed(Math.abs(value) < 10 ? 1 : 0)} ms`;
}

export function rate(value) {
  if (value === null || value === undefined) return DASH;
  return `${value >= 100 ? Math.round(value).toLocaleString("en-GB") : value.toFixed(1)}/s`;
}

export function count(value) {
  return value.toLocaleString("en-GB");
}

export function duration(seconds) {
  let left = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const whole = Math.floor(left / size);
    left -= whole * size;
    if (whole || parts.length) parts.push(whole ? `${whole} ${unit}` : "");
  }
  return parts.slice(0, 2).filter(Boolean).join(" ") || "0 s";
}

export function clock(instant) {
  const at = new Date(instant);
  const time = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString("en-GB")} ${time}`;
}

export function ago(instant, now) {
  const seconds = (now - new Date(instant).getTime()) / 1000;
  return seconds < 2 ? "just now" : `${duration(seconds)} ago`;
}

const SIZES = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, us: 1e-6 };

/** "10m", "1h30m" and "250ms" of the configuration, in seconds. */
export function seconds(text) {
  let sum = 0;
  for (const [, number, unit] of String(text ?? "0s").matchAll(/([0-9.]+)(us|ms|s|m|h|d)/g)) {
    sum += Number(number) * SIZES[unit];
  }
  return sum;
}

/** A guard's value or limit in its unit. */
export function reading(metric, value) {
  if (value === null || value === undefined) return DASH;
  if (metric === "latency_ratio_p95") return `${value.toFixed(2)} ×`;
  if (metric.startsWith("latency_")) return ms(value * 1000);
  return share(value);
}
