/* The beginning: totals, views, colours, keys. */
(() => {
  const { facts, h, at } = finecut;
  const VIEWS = { clips: "Clips", sources: "Sources", scores: "Scores", duplicates: "Duplicates", failures: "Failures", run: "Run" };
  const COUNTS = { clips: facts.count, sources: facts.sources, duplicates: facts.groups, failures: facts.failures };

  // ── what it is about ──────────────────────────────────────────────────────────────────────────

  const totals = () => {
    const kept = { clips: 0, seconds: 0 };
    const rejected = { clips: 0, seconds: 0 };
    for (const [reason, count, seconds] of facts.totals) {
      const one = reason ? rejected : kept;
      one.clips += count;
      one.seconds += seconds;
    }
    return { kept, rejected };
  };
  const inPart = () => {
    if (!facts.failed_in_part) return "";
    return facts.failed_in_part === facts.failed ? " in part" : ` (${finecut.number(facts.failed_in_part)} in part)`;
  };
  const opening = () => {
    const { kept, rejected } = totals();
    at("dataset").textContent = facts.dataset;
    const headline = at("headline");
    headline.replaceChildren(h("em", { text: finecut.number(kept.clips) }), ` ${kept.clips === 1 ? "clip" : "clips"} kept`);
    const others = [];
    if (facts.marked) others.push(`${finecut.several(facts.marked, "clip")} marked`);
    if (facts.failed) others.push(`${finecut.several(facts.failed, "film")} failed${inPart()}`);
    if (others.length) headline.append(h("span", { class: "besides", text: `, ${others.join(", ")}` }));
    at("lead").textContent =
      `${finecut.duration(kept.seconds)} of video, out of ${finecut.several(facts.all, "clip")} (${finecut.duration(kept.seconds + rejected.seconds)}) cut from ` +
      `${finecut.several(facts.sources, "source")} · ${finecut.size(facts.bytes)}`;
    const parts = [["kept", kept.clips], ["rejected", rejected.clips], ["failed", facts.lost]];
    const all = kept.clips + rejected.clips + facts.lost || 1;
    for (const [kind, count] of parts) {
      if (!count) continue;
      const bar = h("span", { class: kind });
      bar.style.flexGrow = count / all;
      at("share").append(bar);
    }
    at("share").setAttribute("aria-label", parts.map(([kind, count]) => `${finecut.number(count)} ${kind}`).join(", "));
    for (const [kind, count] of parts) {
      // Films that failed as a whole have no clips to count: the headline speaks of them.
      if (kind === "failed" && !count) continue;
      const text = kind === "failed" ? `${finecut.several(count, "clip")} failed` : `${finecut.number(count)} ${kind}`;
      at("legend").append(h("li", { class: kind }, h("span", { class: "swatch", "aria-hidden": "true" }), text, h("span", { class: "quiet", text: ` ${finecut.percent(count, all)}` })));
    }
    if (facts.unreadable) {
      finecut.trouble(`${finecut.several(facts.unreadable, "clip")} cannot be shown, because their documents are missing or broken: finecut verify lists them.`);
    }
  };

  // ── views ─────────────────────────────────────────────────────────────────────────────────────

  const named = () => {
    const [address, ...filters] = window.location.hash.slice(1).split("?");
    if (address === "clips" && filters.length) return { view: "clips", clip: "", filters: filters.join("?") };
    const hash = decoded(window.location.hash.slice(1));
    if (hash.startsWith("clip=")) return { view: null, clip: hash.slice(5) };
    return { view: Object.hasOwn(VIEWS, hash) ? hash : "clips", clip: "" };
  };
  const decoded = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return "";
    }
  };
  const switched = (view) => {
    for (const name of Object.keys(VIEWS)) {
      at(`view-${name}`).hidden = name !== view;
      const link = at(`to-${name}`);
      if (name === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (complete) finecut.views[view]();
  };
  let complete = false;
  let view = "clips";
  const gone = () => {
    const wanted = named();
    if (wanted.clip) {
      if (complete) finecut.open(finecut.rowOf(wanted.clip));
      return;
    }
    if (at("clip").open) at("clip").close();
    if (wanted.filters !== undefined) {
      finecut.follow(wanted.filters);
      if (complete) finecut.sift();
    }
    const other = wanted.view !== view;
    view = wanted.view;
    switched(view);
    if (other) window.scrollTo(0, Math.min(window.scrollY, at("main").offsetTop - 64));
  };
  const links = () => {
    for (const [name, text] of Object.entries(VIEWS)) {
      const count = COUNTS[name];
      at("views").append(
        h("li", {}, h("a", { href: `#${name}`, id: `to-${name}` }, text, count === undefined ? null : h("span", { class: "count", text: ` ${finecut.number(count)}` }))),
      );
    }
    window.addEventListener("hashchange", gone);
    at("skip").addEventListener("click", (event) => {
      event.preventDefault();
      at("main").focus();
    });
  };
  finecut.views.clips = () => finecut.grid.soon();

  // ── colours ───────────────────────────────────────────────────────────────────────────────────

  const THEMES = { auto: ["Auto", "as set in the system"], light: ["Light", "light"], dark: ["Dark", "dark"] };
  const remembered = () => {
    try {
      return window.localStorage.getItem("finecut-theme");
    } catch {
      return null; // some browsers remember nothing for files
    }
  };
  const coloured = (name) => {
    const [text, label] = THEMES[name];
    document.documentElement.dataset.theme = name;
    at("theme").textContent = text;
    at("theme").setAttribute("aria-label", `Colours: ${label}`);
    finecut.redraw();
  };
  const colours = () => {
    let name = remembered();
    if (!name || !Object.hasOwn(THEMES, name)) name = "auto";
    coloured(name);
    at("theme").addEventListener("click", () => {
      const names = Object.keys(THEMES);
      name = names[(names.indexOf(name) + 1) % names.length];
      coloured(name);
      try {
        window.localStorage.setItem("finecut-theme", name);
      } catch {
        // as above
      }
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", finecut.redraw);
  };

  document.addEventListener("keydown", (event) => {
    const writing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !writing && !at("clip").open) {
      event.preventDefault();
      if (view !== "clips") window.location.hash = "clips";
      at("search").focus();
    }
  });

  const begin = async () => {
    opening();
    links();
    colours();
    finecut.tools();
    gone();
    try {
      await Promise.all([finecut.loadSources(), finecut.loadClips(() => finecut.sift())]);
    } catch {
      return; // the page says which file is missing
    }
    complete = true;
    finecut.nameSources();
    finecut.marks.recall();
    finecut.sift();
    switched(view);
    if (named().clip) gone();
    document.documentElement.dataset.ready = "";
  };
  begin();
})();
