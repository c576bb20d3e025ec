/* Each score: how it is spread, where the threshold lies, and what another one would keep. */
(() => {
  const { facts, clips, h, at, sign } = finecut;
  const STEPS = 400;
  const SIZES = 12;
  const ROUND = 3;
  let bySeconds = false;

  const figure = (name) => {
    const spread = finecut.spread(name);
    if (!spread.count) return null;
    const rules = finecut.rulesOf(name);
    const range = finecut.range(spread, rules.map((rule) => rule.limit));
    const { chart, point } = finecut.histogram(spread, range, rules, bySeconds);
    const comparison = rules.length ? rules[0].comparison : ">=";
    const whole = spread.count;
    const output = h("output", { for: `try-${name}` });
    const code = h("code", {});
    const rule = h("p", { class: "rule" });
    let limit = rules.length ? rules[0].limit : spread.least;
    const say = () => {
      const kept = finecut.keeps(spread, comparison, limit);
      const text = finecut.score(limit);
      output.textContent = `${sign(comparison)} ${text} keeps ${finecut.number(kept.clips)} of ${finecut.number(whole)} clips (${finecut.percent(kept.clips, whole)}), ${finecut.duration(kept.seconds)}`;
      slider.setAttribute("aria-valuetext", output.textContent);
      code.textContent = `--keep '${finecut.plain(name)}${comparison}${Number(limit.toPrecision(6))}'`;
      point(limit);
    };
    const slider = h("input", {
      type: "range",
      min: 0,
      max: STEPS,
      id: `try-${name}`,
      "aria-label": `Another threshold for ${finecut.named(name)}`,
      oninput: () => {
        const exact = range.low + ((range.high - range.low) * slider.value) / STEPS;
        limit = Number(exact.toPrecision(ROUND));
        say();
      },
    });
    slider.value = Math.round(((limit - range.low) / (range.high - range.low)) * STEPS);
    say();
    const pass = comparison[0] === ">" ? { least: () => limit, most: () => Infinity } : { least: () => -Infinity, most: () => limit };
    const show = (text, least, most) =>
      h("button", { type: "button", class: "plain small", text, onclick: () => finecut.showOnly({ limits: { [name]: { least: least(), most: most() } } }) });
    // Scores have four bytes: this is the next smaller, or larger, one of them.
    const beside = (sign) => limit + sign * Math.max(Math.abs(limit) * 2e-7, 1e-12);
    const fail = comparison[0] === ">" ? { least: () => -Infinity, most: () => beside(-1) } : { least: () => beside(1), most: () => Infinity };
    rule.append(show("Show these", pass.least, pass.most), show("Show the others", fail.least, fail.most));
    if (finecut.isScore(name)) rule.append(code);
    const told = rules.map((each) => `${sign(each.comparison)} ${each.limit}`).join(", ");
    return h(
      "figure",
      { class: "score" },
      h("figcaption", {}, h("h3", { text: finecut.named(name) }), h("span", { class: told ? "told" : "quiet", text: told ? `threshold ${told}` : "no threshold" })),
      h("div", { class: "plot" }, chart),
      h("div", { class: "ends quiet" }, h("span", { text: finecut.score(range.low) }), h("span", { text: finecut.score(range.high) })),
      slider,
      h("p", { class: "keeps" }, output),
      rule,
      spread.missing ? h("p", { class: "quiet", text: `${finecut.several(spread.missing, "clip has", "clips have")} no such score` }) : null,
    );
  };
  const sizes = () => {
    const counts = new Map();
    for (let row = 0; row < clips.ready; row += 1) {
      if (!clips.width[row]) continue;
      const size = clips.width[row] * 65536 + clips.height[row];
      const entry = counts.get(size) || { kept: 0, rejected: 0 };
      entry[finecut.kept(row) ? "kept" : "rejected"] += bySeconds ? clips.duration[row] : 1;
      counts.set(size, entry);
    }
    const whole = (entry) => entry.kept + entry.rejected;
    const most = [...counts].sort((one, other) => whole(other[1]) - whole(one[1]));
    const largest = most.length ? whole(most[0][1]) : 1;
    const told = (entry) => (bySeconds ? finecut.duration(whole(entry)) : finecut.number(whole(entry)));
    const bar = (kind, part) => {
      const element = h("span", { class: kind });
      element.style.width = `${(100 * part) / largest}%`;
      return element;
    };
    return h(
      "figure",
      { class: "score" },
      h("figcaption", {}, h("h3", { text: "resolution" }), h("span", { class: "quiet", text: finecut.several(most.length, "size") })),
      h("ul", { class: "bars" }, most.slice(0, SIZES).map(([size, entry]) => h("li", {}, h("span", { text: `${Math.floor(size / 65536)} × ${size % 65536}` }), h("span", { class: "bar", "aria-hidden": "true" }, bar("kept", entry.kept), bar("rejected", entry.rejected)), h("span", { class: "quiet", text: told(entry) })))),
    );
  };
  // A million clips take a moment for each score: what is drawn can be seen meanwhile.
  const PATIENCE = 40;
  let turn = 0;
  const drawn = async () => {
    turn += 1;
    const mine = turn;
    const names = finecut.measured();
    const ruled = (name) => (finecut.rulesOf(name).length ? 0 : 1);
    const ordered = names.filter((name) => name !== "short_side").sort((one, other) => ruled(one) - ruled(other));
    at("scores").replaceChildren();
    let began = performance.now();
    for (const name of [...ordered, null]) {
      if (name && !finecut.has([name])) await finecut.need([name]).catch(() => {});
      if (mine !== turn) return;
      if (name && !finecut.has([name])) continue; // the page says which file is missing
      const made = name ? figure(name) : sizes();
      if (made) at("scores").append(made);
      if (performance.now() - began < PATIENCE) continue;
      await new Promise((done) => setTimeout(done));
      if (mine !== turn) return;
      began = performance.now();
    }
  };
  let ready = false;
  finecut.views.scores = () => {
    if (ready) return;
    ready = true;
    at("about-scores").textContent =
      "Bars: the number of clips with each score, kept and rejected. Below: how much each threshold would keep if its rule were the only one.";
    const control = h("select", { id: "unit", onchange: () => { bySeconds = control.value === "seconds"; drawn(); } });
    control.append(h("option", { value: "clips", text: "Clips" }), h("option", { value: "seconds", text: "Seconds of video" }));
    at("tools-scores").append(h("label", { class: "field" }, h("span", { text: "Counted in" }), control));
    drawn();
  };
})();
