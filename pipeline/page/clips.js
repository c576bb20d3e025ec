/* The gallery: which clips are shown, in which order, and how each looks. */
(() => {
  const { facts, clips, h, at } = finecut;
  const MANY_SOURCES = 400;
  const shown = { rows: new Uint32Array(0) };
  finecut.shown = shown;
  const wanted = { words: "", outcome: "all", reason: "", source: "", order: "", up: false, ticked: false, ids: null, limits: new Map() };
  finecut.wanted = wanted;
  let asked = 0;

  // ── cards ─────────────────────────────────────────────────────────────────────────────────────

  const said = (row, text) => {
    const caption = text && text.captions.length ? text.captions[0][1] : "";
    return caption || finecut.fileName(row);
  };
  const card = (index) => {
    const row = shown.rows[index];
    const picture = h("span", { class: "picture" });
    const line = h("span", { class: "said" });
    const now = finecut.textNow(row);
    line.textContent = now ? said(row, now) : "";
    if (!now) {
      finecut.text(row).then((text) => {
        line.textContent = said(row, text);
      });
    }
    const where = `${finecut.clock(clips.start[row])} – ${finecut.clock(clips.end[row])}`;
    const place = facts.captioned ? `${where} · ${finecut.fileName(row)}` : where;
    const score = wanted.order && finecut.values(wanted.order);
    const shownAs = wanted.order === "size" ? finecut.size : finecut.score;
    const value = score && wanted.order !== "duration" ? shownAs(score[row]) : "";
    let clock = 0;
    const play = () => {
      clock = setTimeout(() => finecut.play(row, picture), 90);
    };
    const stop = () => {
      clearTimeout(clock);
      finecut.stop(picture);
    };
    const button = h(
      "button",
      {
        type: "button",
        class: finecut.kept(row) ? "card" : "card rejected",
        "data-item": "",
        "aria-label": finecut.described(row),
        onclick: () => finecut.open(row),
        onpointerenter: play,
        onpointerleave: stop,
        onfocus: (event) => event.target.matches(":focus-visible") && play(),
        onblur: stop,
      },
      h(
        "span",
        { class: "frame" },
        picture,
        finecut.kept(row) ? null : h("span", { class: "why", text: finecut.reason(row) }),
        clips.marked[row] ? h("span", { class: "why marked", text: "marked" }) : null,
        h("span", { class: "length", text: finecut.duration(clips.duration[row]) }),
      ),
      line,
      h("span", { class: "facts" }, h("span", { class: "place", text: place }), value ? h("span", { class: "value", text: value }) : null),
    );
    requestAnimationFrame(() => finecut.poster(row, picture));
    return [button, finecut.box(row, index)];
  };
  const grid = finecut.list({
    place: at("grid"),
    least: 232,
    gap: 22,
    height: (width) => Math.round((width * 9) / 16) + (facts.captioned ? 74 : 54),
    make: card,
    turned: (list) => pages(list),
  });
  finecut.grid = grid;
  /** Which of many pages this is, above the clips and below them. */
  const pages = ({ count, page, from, to }) => {
    for (const id of ["pages", "pages-below"]) {
      const place = at(id);
      place.hidden = count <= page;
      if (place.hidden) continue;
      const turn = (text, index, label) => {
        const act = () => {
          grid.turn(index);
          at("pages").scrollIntoView({ block: "nearest" });
        };
        const button = h("button", { type: "button", class: "plain small", text, "aria-label": label, onclick: act });
        button.disabled = index < 0 || index >= count;
        return button;
      };
      place.replaceChildren(
        turn("←", from - page, "Clips before these"),
        h("span", { text: `${finecut.number(from + 1)} – ${finecut.number(to)} of ${finecut.number(count)}` }),
        turn("→", from + page, "Clips after these"),
      );
    }
  };

  // ── which ─────────────────────────────────────────────────────────────────────────────────────

  // All rows in the last order that was asked for: a filter leaves some out of it.
  let sorted = { key: "", rows: null };
  const everyRow = () => {
    if (!wanted.order) {
      const rows = finecut.everyRow(clips.ready);
      return wanted.up ? rows.reverse() : rows;
    }
    const key = `${wanted.up} ${clips.ready} ${wanted.order}`;
    if (sorted.key !== key) {
      const values = finecut.values(wanted.order).subarray(0, clips.ready);
      sorted = { key, rows: finecut.sorted(values, wanted.up) };
    }
    return sorted.rows.slice();
  };
  /** The rows that fulfil all that numbers can say, one condition after the other. */
  const fitting = () => {
    const { reason, marked, source } = clips;
    let rows = everyRow();
    if (wanted.outcome === "kept") rows = finecut.sieved(rows, (row) => reason[row] === 0);
    if (wanted.outcome === "rejected") rows = finecut.sieved(rows, (row) => reason[row] !== 0);
    if (wanted.outcome === "marked") rows = finecut.sieved(rows, (row) => marked[row] !== 0);
    if (wanted.ticked) rows = finecut.sieved(rows, (row) => finecut.marks.ticked[row] === 1);
    if (wanted.ids) {
      const some = new Set(finecut.rowsOf(wanted.ids));
      rows = finecut.sieved(rows, (row) => some.has(row));
    }
    if (wanted.reason !== "") {
      const one = Number(wanted.reason);
      rows = finecut.sieved(rows, (row) => reason[row] === one);
    }
    for (const some of [wanted.source ? named(wanted.source) : null, finecut.fields.fitting()]) {
      if (some) rows = finecut.sieved(rows, (row) => some[source[row]] === 1);
    }
    for (const [name, limit] of wanted.limits) {
      // As four-byte numbers, which is what scores are stored as.
      const least = Math.fround(limit.least);
      const most = Math.fround(limit.most);
      const values = finecut.values(name);
      rows = finecut.sieved(rows, (row) => values[row] >= least && values[row] <= most);
    }
    return rows;
  };
  const named = (text) => {
    const part = text.toLowerCase();
    return Uint8Array.from(finecut.sources.name, (name) => (name === text || name.toLowerCase().includes(part) ? 1 : 0));
  };
  const searched = async (rows, words, ticket) => {
    const parts = words.toLowerCase().split(/\s+/).filter(Boolean);
    const found = new Set();
    let index = -1;
    // In the order in which texts lie there, whichever the order is in which they are shown.
    for (const row of rows.slice().sort()) {
      const chunk = finecut.chunkOf("texts", row);
      if (chunk !== index) {
        index = chunk;
        await finecut.text(row);
        if (ticket !== asked) return null;
        at("found").textContent = `Searching … ${finecut.percent(chunk, facts.chunks.texts.length)}`;
      }
      const text = finecut.textNow(row);
      const all = [finecut.sourceName(row), finecut.id(row), ...[...(text ? text.captions : []), ...finecut.told(row)].map((each) => each[1])];
      const whole = all.join("\n").toLowerCase();
      if (parts.every((part) => whole.includes(part))) found.add(row);
    }
    return rows.filter((row) => found.has(row));
  };
  const spoken = (rows) => {
    let seconds = 0;
    for (const row of rows) seconds += clips.duration[row];
    const some = rows.length === facts.all ? "" : ` of ${finecut.number(facts.all)}`;
    const loading = clips.ready < facts.count ? ", loading …" : "";
    return `${finecut.number(rows.length)}${some} ${facts.count === 1 ? "clip" : "clips"} · ${finecut.duration(seconds)}${loading}`;
  };
  /** Show what is wanted now. */
  finecut.sift = async () => {
    asked += 1;
    const ticket = asked;
    const keys = [...wanted.limits.keys(), wanted.order];
    if (!finecut.has(keys)) {
      at("found").textContent = "Loading …";
      await finecut.need(keys).catch(() => {}); // the page says which file is missing
      if (ticket !== asked || !finecut.has(keys)) return;
    }
    let rows = fitting();
    if (wanted.words.trim()) rows = await searched(rows, wanted.words, ticket);
    if (ticket !== asked || !rows) return;
    shown.rows = rows;
    grid.reset(shown.rows.length);
    at("found").textContent = spoken(shown.rows);
    at("nothing").hidden = shown.rows.length > 0 || clips.ready < facts.count;
    at("nothing").textContent = facts.count
      ? "No clip matches. Remove a filter, or search for fewer words."
      : "No clips were finished. The Failures view shows why, if something failed.";
    chips();
    finecut.noted();
  };

  // ── tools ─────────────────────────────────────────────────────────────────────────────────────

  const controls = {};
  const labelled = (text, control) => h("label", { class: "field" }, h("span", { text }), control);
  const select = (id, choices, act) => {
    const control = h("select", { id, onchange: () => act(control.value) });
    for (const [value, text] of choices) control.append(h("option", { value, text }));
    controls[id] = control;
    return control;
  };
  const outcomes = () => {
    const some = [["all", "All"], ["kept", "Kept"], ["rejected", "Rejected"]];
    if (facts.marked) some.push(["marked", "Marked"]);
    const group = h("fieldset", { class: "choice" }, h("legend", { class: "unseen", text: "Outcome" }));
    for (const [value, text] of some) {
      const input = h("input", { type: "radio", name: "outcome", value, id: `outcome-${value}` });
      input.checked = value === wanted.outcome;
      input.addEventListener("change", () => {
        wanted.outcome = value;
        if (value === "kept") set("reason", "");
        finecut.sift();
      });
      group.append(h("label", {}, input, h("span", { text })));
    }
    return group;
  };
  const reasons = () => {
    const choices = [["", "Any reason"]];
    for (const [index, count] of facts.totals) {
      if (index) choices.push([index, `${facts.reasons[index]} (${finecut.number(count)})`]);
    }
    return select("reason", choices, (value) => {
      wanted.reason = value;
      finecut.sift();
    });
  };
  const orders = () => {
    const choices = [["", "In source order"], ["duration", "Duration"], ["size", "File size"]];
    for (const name of facts.scores) choices.push([finecut.keyOf(name), sentence(finecut.named(finecut.keyOf(name)))]);
    return select("order", choices, (value) => {
      wanted.order = value;
      finecut.sift();
    });
  };
  const sentence = (text) => text[0].toUpperCase() + text.slice(1);
  const direction = () => {
    const words = () => {
      if (!wanted.order) return wanted.up ? "↑ Backwards" : "↓ Forwards";
      return wanted.up ? "↑ Lowest first" : "↓ Highest first";
    };
    const button = h("button", {
      type: "button",
      class: "plain",
      id: "direction",
      onclick: () => {
        wanted.up = !wanted.up;
        button.textContent = words();
        finecut.sift();
      },
    });
    button.textContent = words();
    controls.up = { set value(up) { button.textContent = words(); } };
    controls.order.addEventListener("change", () => {
      button.textContent = words();
    });
    return button;
  };
  const limit = (name) => {
    const value = () => wanted.limits.get(name) || { least: -Infinity, most: Infinity };
    const input = (side, text) => {
      const control = h("input", {
        type: "number",
        step: "any",
        id: `${side}-${name}`,
        "aria-label": `${finecut.named(name)}, ${text}`,
        placeholder: text,
        oninput: () => {
          const number = control.value === "" ? (side === "least" ? -Infinity : Infinity) : Number(control.value);
          const now = { ...value(), [side]: number };
          if (now.least === -Infinity && now.most === Infinity) wanted.limits.delete(name);
          else wanted.limits.set(name, now);
          finecut.sift();
        },
      });
      controls[`${side}-${name}`] = control;
      return control;
    };
    return h(
      "div",
      { class: "limit" },
      h("span", { class: "name", text: sentence(finecut.named(name)) }),
      input("least", "from"),
      input("most", "to"),
    );
  };
  const search = () => {
    let clock = 0;
    const input = h("input", {
      type: "search",
      id: "search",
      placeholder: "Captions, videos, ids",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => {
        clearTimeout(clock);
        clock = setTimeout(() => {
          wanted.words = input.value;
          finecut.sift();
        }, 160);
      },
    });
    controls.search = input;
    return input;
  };
  const source = () => {
    const names = h("datalist", { id: "names" });
    const input = h("input", {
      type: "search",
      id: "source",
      list: "names",
      placeholder: "All videos",
      autocomplete: "off",
      oninput: () => {
        wanted.source = input.value;
        finecut.sift();
      },
    });
    finecut.nameSources = () => {
      for (const name of finecut.sources.name.slice(0, MANY_SOURCES)) names.append(h("option", { value: name }));
    };
    controls.source = input;
    return [input, names];
  };
  const set = (name, value) => {
    if (name === "outcome") at(`outcome-${value}`).checked = true;
    else if (controls[name]) controls[name].value = value;
    wanted[name === "search" ? "words" : name] = value;
  };
  const USUAL = { search: "", outcome: "all", reason: "", source: "", ticked: false, ids: null };
  const unlimited = (name) => {
    wanted.limits.delete(name);
    for (const side of ["least", "most"]) controls[`${side}-${name}`].value = "";
  };
  const chips = () => {
    const some = [];
    const chip = (text, act) =>
      some.push(
        h("li", {}, h("button", { type: "button", class: "chip", "aria-label": `Remove the filter ${text}`, text: `${text} ×`, onclick: () => { act(); finecut.sift(); at("search").focus(); } })),
      );
    if (wanted.words.trim()) chip(`“${wanted.words.trim()}”`, () => set("search", ""));
    if (wanted.outcome !== "all") chip(wanted.outcome, () => set("outcome", "all"));
    if (wanted.ids) chip(finecut.several(wanted.ids.length, "id"), () => set("ids", null));
    if (wanted.ticked) chip("ticked", () => set("ticked", false));
    if (wanted.reason !== "") chip(facts.reasons[wanted.reason], () => set("reason", ""));
    if (wanted.source) chip(wanted.source, () => set("source", ""));
    for (const [text, act] of finecut.fields.chips()) chip(text, act);
    for (const [name, { least, most }] of wanted.limits) {
      const from = least === -Infinity ? "" : `≥ ${finecut.score(least)}`;
      const to = most === Infinity ? "" : `≤ ${finecut.score(most)}`;
      chip(`${finecut.named(name)} ${[from, to].filter(Boolean).join(", ")}`, () => unlimited(name));
    }
    at("chips").replaceChildren(...some);
  };
  /** Set the filters to these and no others; the order stays unless it is named. */
  finecut.choose = (filters) => {
    for (const [name, value] of Object.entries(USUAL)) set(name, filters[name] ?? value);
    if ("up" in filters) {
      const known = [...controls.order.options].some((option) => option.value === filters.order);
      set("order", known ? filters.order : "");
      wanted.up = filters.up;
      controls.up.value = filters.up;
    }
    if (wanted.reason !== "" && !facts.reasons[wanted.reason]) set("reason", "");
    for (const name of [...wanted.limits.keys()]) unlimited(name);
    finecut.fields.clear();
    for (const [name, one] of Object.entries(filters.limits || {})) {
      if (!controls[`least-${name}`]) continue; // of another report
      wanted.limits.set(name, one);
      if (one.least !== -Infinity) controls[`least-${name}`].value = one.least;
      if (one.most !== Infinity) controls[`most-${name}`].value = one.most;
    }
  };
  /** Show the clips that fulfil this and nothing else. */
  finecut.showOnly = (filters) => {
    finecut.choose(filters);
    window.location.hash = "clips";
    finecut.sift();
  };

  finecut.tools = () => {
    const form = at("tools");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.append(
      labelled("Search", search()),
      outcomes(),
      h(
        "details",
        // On a small screen clips come first, and tools when they are asked for.
        { class: "others", open: window.matchMedia("(min-width: 601px)").matches },
        h("summary", { text: "Filter and sort" }),
        h(
          "div",
          { class: "tools" },
          facts.reasons.length > 1 ? labelled("Reason", reasons()) : null,
          labelled("Video", source()),
          labelled("Order", orders()),
          direction(),
        ),
      ),
      h(
        "details",
        { class: "limits" },
        h("summary", { text: "Scores from … to …" }),
        h("div", { class: "limitgrid" }, finecut.measured().map(limit)),
      ),
      ...finecut.fields.tools(),
    );
  };
})();
