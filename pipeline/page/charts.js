/* How a score is spread over all clips, and what a threshold would keep. */
(() => {
  const { clips, svg } = finecut;
  const BINS = 48;

  /** The values that are numbers, in order, with the seconds and the rows they belong to. */
  finecut.spread = (name) => {
    const values = finecut.values(name);
    const rows = [];
    for (let row = 0; row < clips.ready; row += 1) if (!Number.isNaN(values[row])) rows.push(row);
    rows.sort((one, other) => values[one] - values[other]);
    const sorted = Float32Array.from(rows, (row) => values[row]);
    // seconds[i]: of all clips before the i-th
    const seconds = new Float64Array(rows.length + 1);
    rows.forEach((row, at) => {
      seconds[at + 1] = seconds[at] + clips.duration[row];
    });
    return { name, rows, sorted, seconds, missing: clips.ready - rows.length };
  };

  /** The number of values below a limit, or not above it. */
  const below = (sorted, limit, orEqual) => {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < limit || (orEqual && sorted[middle] === limit)) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  /** What a rule would keep, by itself. */
  finecut.keeps = (spread, comparison, limit) => {
    // Scores are stored in four bytes, so the limit is compared as such a number too.
    const at = below(spread.sorted, Math.fround(limit), comparison === ">" || comparison === "<=");
    const all = spread.sorted.length;
    const total = spread.seconds[all];
    return comparison[0] === ">"
      ? { clips: all - at, seconds: total - spread.seconds[at] }
      : { clips: at, seconds: spread.seconds[at] };
  };

  /** From where to where a chart goes: all thresholds, and all but the farthest values. */
  finecut.range = (spread, limits) => {
    const { sorted } = spread;
    const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
    let low = sorted[0];
    let high = sorted[sorted.length - 1];
    if (sorted.length > 200 && high - low > 3 * (at(0.995) - at(0.005))) {
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

  /** Bars of kept and rejected clips, the thresholds, and the curve of what each would keep. */
  finecut.histogram = (spread, { low, high }, rules, bySeconds) => {
    const { rows } = spread;
    const bins = Math.min(BINS, Math.max(8, Math.ceil(Math.sqrt(rows.length) * 2)));
    const kept = new Float64Array(bins);
    const rejected = new Float64Array(bins);
    rows.forEach((row, at) => {
      const place = ((spread.sorted[at] - low) / (high - low)) * bins;
      const bin = Math.max(0, Math.min(bins - 1, Math.floor(place)));
      (finecut.kept(row) ? kept : rejected)[bin] += bySeconds ? clips.duration[row] : 1;
    });
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
    const unit = bySeconds ? "seconds" : "clips";
    const whole = bySeconds ? spread.seconds[rows.length] : rows.length;
    const top = HIGH + 18;
    const points = [];
    for (let at = 0; at <= 160; at += 1) {
      const limit = low + ((high - low) * at) / 160;
      const part = finecut.keeps(spread, comparison, limit)[unit] / (whole || 1);
      points.push(`${((at * WIDE) / 160).toFixed(1)},${(top + (1 - part) * YIELD).toFixed(2)}`);
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
