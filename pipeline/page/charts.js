/* How a score is spread over all clips, and what a threshold would keep. */
(() => {
  const { clips, svg } = finecut;
  const BINS = 48;

  // So many values say well enough where the farthest ones lie.
  const SAMPLE = 65536;

  /** How many values are numbers, from where to where they go, and some of them in order. */
  finecut.spread = (name) => {
    const values = finecut.values(name).subarray(0, clips.ready);
    let count = 0;
    let least = Infinity;
    let most = -Infinity;
    for (let row = 0; row < values.length; row += 1) {
      const value = values[row];
      if (Number.isNaN(value)) continue;
      count += 1;
      if (value < least) least = value;
      if (value > most) most = value;
    }
    const step = Math.max(1, Math.floor(count / SAMPLE));
    const sample = new Float32Array(Math.ceil(count / step));
    let seen = 0;
    for (let row = 0; row < values.length; row += 1) {
      if (Number.isNaN(values[row])) continue;
      if (seen % step === 0) sample[seen / step] = values[row];
      seen += 1;
    }
    return { name, values, count, least, most, sample: sample.sort(), missing: values.length - count };
  };

  const HOLDS = {
    ">=": (value, limit) => value >= limit,
    ">": (value, limit) => value > limit,
    "<=": (value, limit) => value <= limit,
    "<": (value, limit) => value < limit,
  };
  /** What a rule would keep, by itself. */
  finecut.keeps = ({ values }, comparison, limit) => {
    // Scores are stored in four bytes, so the limit is compared as such a number too.
    const exact = Math.fround(limit);
    const holds = HOLDS[comparison];
    const kept = { clips: 0, seconds: 0 };
    for (let row = 0; row < values.length; row += 1) {
      if (!holds(values[row], exact)) continue;
      kept.clips += 1;
      kept.seconds += clips.duration[row];
    }
    return kept;
  };

  /** From where to where a chart goes: all thresholds, and all but the farthest values. */
  finecut.range = ({ sample, least, most }, limits) => {
    const at = (part) => sample[Math.min(sample.length - 1, Math.floor(part * sample.length))];
    let low = least;
    let high = most;
    if (sample.length > 200 && high - low > 3 * (at(0.995) - at(0.005))) {
      low = at(0.005);
      high = at(0.995);
    }
    low = Math.min(low, ...limits);
    high = Math.max(high, ...limits);
    if (low === high) {
      low -= Math.abs(low) * 0.1 || 0.5;
      high += Math.abs(high) * 0.1 || 0.5;
    }
    return { low, high };
  };

  const WIDE = 480;
  const HIGH = 96;
  const YIELD = 56;
  const STEPS = 160;

  /** Bars of kept and rejected clips, the thresholds, and the curve of what each would keep. */
  finecut.histogram = (spread, { low, high }, rules, bySeconds) => {
    const { values, count } = spread;
    const bins = Math.min(BINS, Math.max(8, Math.ceil(Math.sqrt(count) * 2)));
    const kept = new Float64Array(bins);
    const rejected = new Float64Array(bins);
    // How much lies in each step of the curve; the last one is beyond it.
    const steps = new Float64Array(STEPS + 2);
    const scale = 1 / (high - low);
    let whole = 0;
    for (let row = 0; row < values.length; row += 1) {
      const place = (values[row] - low) * scale;
      if (Number.isNaN(place)) continue;
      const weight = bySeconds ? clips.duration[row] : 1;
      const bin = Math.max(0, Math.min(bins - 1, Math.floor(place * bins)));
      (clips.reason[row] === 0 ? kept : rejected)[bin] += weight;
      steps[Math.max(0, Math.min(STEPS + 1, Math.floor(place * STEPS) + 1))] += weight;
      whole += weight;
    }
    const most = Math.max(...kept.map((value, at) => value + rejected[at]), 1e-9);
    const x = (value) => ((value - low) / (high - low)) * WIDE;
    const wide = WIDE / bins;
    const bar = (kind, at, value, under) =>
      svg("rect", {
        class: kind,
        x: (at * wide + 0.75).toFixed(2),
        width: (wide - 1.5).toFixed(2),
        y: (HIGH - ((under + value) / most) * (HIGH - 6)).toFixed(2),
        height: Math.max(value ? 1 : 0, (value / most) * (HIGH - 6)).toFixed(2),
      });
    const bars = [];
    for (let at = 0; at < bins; at += 1) {
      if (kept[at]) bars.push(bar("kept", at, kept[at], 0));
      if (rejected[at]) bars.push(bar("rejected", at, rejected[at], kept[at]));
    }
    const comparison = rules.length ? rules[0].comparison : ">=";
    const top = HIGH + 18;
    const points = [];
    let under = 0;
    for (let at = 0; at <= STEPS; at += 1) {
      under += steps[at];
      const part = (comparison[0] === ">" ? whole - under : under) / (whole || 1);
      points.push(`${((at * WIDE) / STEPS).toFixed(1)},${(top + (1 - part) * YIELD).toFixed(2)}`);
    }
    const bottom = top + YIELD;
    const lines = rules.map((rule) =>
      svg("line", { class: "limit", x1: x(rule.limit), x2: x(rule.limit), y1: 0, y2: bottom }),
    );
    const probe = svg("line", { class: "probe", x1: 0, x2: 0, y1: 0, y2: bottom, visibility: "hidden" });
    const chart = svg(
      "svg",
      { viewBox: `-1 0 ${WIDE + 2} ${bottom + 1}`, preserveAspectRatio: "none", class: "chart", "aria-hidden": "true" },
      bars,
      svg("line", { class: "axis", x1: 0, x2: WIDE, y1: HIGH, y2: HIGH }),
      svg("polygon", { class: "yield", points: `0,${bottom} ${points.join(" ")} ${WIDE},${bottom}` }),
      svg("polyline", { class: "curve", points: points.join(" ") }),
      svg("line", { class: "axis", x1: 0, x2: WIDE, y1: bottom, y2: bottom }),
      lines,
      probe,
    );
    const point = (limit) => {
      probe.setAttribute("x1", x(limit));
      probe.setAttribute("x2", x(limit));
      probe.setAttribute("visibility", "visible");
    };
    return { chart, point };
  };
})();
