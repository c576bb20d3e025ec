/* What runs said of themselves. */
(() => {
  const { facts, h, at } = finecut;

  const value = (said) => {
    if (typeof said === "number") return Number.isInteger(said) ? finecut.number(said) : finecut.score(said);
    if (Array.isArray(said)) return said.map(String).join(", ");
    return said && typeof said === "object" ? JSON.stringify(said) : String(said);
  };
  const table = (title, said) => {
    const pairs = Object.entries(said || {}).map(([name, each]) => [name.replaceAll("_", " "), value(each)]);
    return pairs.length ? h("section", {}, h("h3", { text: title }), finecut.pairs(pairs, "facts")) : null;
  };
  const flags = (said) => {
    const pairs = Object.entries(said || {}).map(([name, each]) => [`--${name.replaceAll("_", "-")}`, value(each)]);
    return pairs.length ? h("section", {}, h("h3", { text: "Options" }), finecut.pairs(pairs, "facts code")) : null;
  };
  const columns = (heads, rows) =>
    h(
      "div",
      { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" },
      h("table", {}, h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col", text })))), h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((text) => h("td", { text })))))),
    );
  const steps = (said) => {
    const rows = Object.entries(said || {}).map(([name, told]) => [name, value(told.items ?? 0), told.seconds === undefined ? "–" : finecut.duration(told.seconds), told.bytes === undefined ? "–" : finecut.size(told.bytes)]);
    return rows.length ? h("section", {}, h("h3", { text: "Steps" }), columns(["step", "items", "seconds of work", "bytes"], rows)) : null;
  };
  const runs = () => {
    const rows = facts.runs.toReversed ? facts.runs.toReversed() : [...facts.runs].reverse();
    const told = (run) => {
      const videos = run.videos || {};
      const made = run.clips || {};
      return [when(run), finecut.duration(Number(run.seconds) || 0), value(videos.found ?? "–"), value(videos.done ?? "–"), value(videos.failed ?? "–"), value(videos.skipped ?? "–"), value(made.kept ?? "–"), value(made.rejected ?? "–")];
    };
    return h("section", {}, h("h3", { text: "Runs" }), columns(["began", "took", "videos found", "done", "failed", "skipped", "clips kept", "rejected"], rows.map(told)));
  };
  const when = (run) => String(run.started || run.name).replace("T", " ").replace("+00:00", " UTC");
  const speed = (run) => {
    const told = run.speed || {};
    const seconds = run.film_seconds || {};
    return {
      began: when(run),
      took: finecut.duration(Number(run.seconds) || 0),
      speed: `${finecut.score(Number(told.times_real_time) || 0)}× real time`,
      "film found": finecut.duration(Number(seconds.found) || 0),
      "film kept": finecut.duration(Number(seconds.kept) || 0),
      books: run.balanced === false ? `do not balance: ${value(run.imbalances)}` : "balance",
    };
  };
  let ready = false;
  finecut.views.run = () => {
    if (ready) return;
    ready = true;
    const last = facts.runs[facts.runs.length - 1];
    const place = at("run");
    if (!last) {
      place.append(h("p", { class: "quiet", text: "There is no summary of a run: these clips were made by another program, or runs/ was not copied." }));
      return;
    }
    const parts = [table("Last run", speed(last)), flags(last.options), table("Versions", last.versions), table("Models", last.models), steps(last.steps), runs()];
    place.append(...parts.filter(Boolean));
  };
})();
