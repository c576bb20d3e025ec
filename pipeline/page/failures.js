/* What went wrong, with the evidence. */
(() => {
  const { facts, h, at } = finecut;
  let chunk = 0;

  const shown = (columns, index) => {
    const value = (name) => columns[name][index];
    const marks = [];
    if (value("lost")) marks.push(`${finecut.several(value("lost"), "clip")} lost`);
    if (value("attempts") > 1) marks.push(`tried ${value("attempts")} times`);
    if (value("aside")) marks.push("set aside");
    return h(
      "li",
      { class: "failure" },
      h("p", { class: "what" }, h("span", { class: "step", text: `${value("step")}: ${value("error")}` }), " ", h("span", { class: "quiet", text: marks.join(" · ") })),
      h("p", { class: "of", text: value("source") }),
      h("p", { class: "why", text: value("message") }),
      value("evidence") ? h("details", {}, h("summary", { text: "Evidence" }), h("pre", { text: value("evidence"), tabindex: "0", "aria-label": "Evidence" })) : null,
    );
  };
  const more = async () => {
    const columns = await finecut.load("failures", chunk);
    chunk += 1;
    at("failures").append(...columns.source.map((_, index) => shown(columns, index)));
    at("more-failures").hidden = chunk >= facts.chunks.failures.length;
  };
  let ready = false;
  finecut.views.failures = async () => {
    if (ready) return;
    ready = true;
    at("about-failures").textContent = facts.failures
      ? `${finecut.several(facts.failures, "failure")}, listed in failures/. You can use a list as an input: finecut curate --input with its path tries these videos again.`
      : "Nothing failed.";
    if (!facts.failures) return;
    at("more-failures").addEventListener("click", more);
    await more();
  };
})();
