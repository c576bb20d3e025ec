/* Ticking clips: the boxes on them, the keys, and what can be done with those that are ticked. */
(() => {
  const { facts, clips, marks, h, at } = finecut;
  const FILE = "marks.txt";
  let last = -1; // where among the shown clips a range begins

  /** Tick or untick the clip at this place of the gallery, with Shift all since the one before. */
  const tick = (index, on, range) => {
    const { rows } = finecut.shown;
    const from = range && last >= 0 && last < rows.length ? last : index;
    marks.tick(rows.subarray(Math.min(from, index), Math.max(from, index) + 1), on);
    last = index;
  };
  /** The box of a clip in the gallery. */
  finecut.box = (row, index) => {
    const input = h("input", { type: "checkbox", tabindex: -1, "data-row": row, "aria-label": `Tick ${finecut.described(row)}` });
    input.checked = marks.ticked[row] === 1;
    input.addEventListener("click", (event) => tick(index, input.checked, event.shiftKey));
    return h("label", { class: "tick" }, input);
  };
  at("grid").addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "x" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.dataset.item === undefined) return;
    event.preventDefault();
    const index = finecut.grid.current;
    tick(index, marks.ticked[finecut.shown.rows[index]] === 0, event.shiftKey);
  });

  // ── what can be done with them ────────────────────────────────────────────────────────────────

  const button = (text, act, id) => h("button", { type: "button", class: "plain small", text, onclick: act, id });
  const told = h("p", { id: "ticked", role: "status" });
  const warned = h("p", { class: "warning", id: "unkept", hidden: true });
  const save = () => {
    const address = URL.createObjectURL(new Blob([marks.written()], { type: "text/plain" }));
    const link = h("a", { href: address, download: FILE });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  };
  const file = h("input", { type: "file", accept: ".txt,text/plain", id: "marks-file", class: "unseen", tabindex: -1, "aria-label": "A file of ticked clips" });
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    const { here, elsewhere, others } = marks.load(await chosen.text());
    const parts = [`${finecut.several(here, "clip")} ticked from ${chosen.name}`];
    if (elsewhere) parts.push(`${finecut.several(elsewhere, "id")} of clips that this page does not show`);
    if (others) parts.push(`${finecut.several(others, "line")} without an id`);
    told.textContent = parts.join(", ");
    file.value = "";
  });
  const tags = h("input", { type: "text", id: "tags", placeholder: "good, night", autocomplete: "off" });
  const tagging = h("form", { class: "tagging" }, h("label", {}, h("span", { text: "Tag them" }), tags), h("button", { class: "plain small", text: "Add tags" }));
  tagging.addEventListener("submit", (event) => {
    event.preventDefault();
    marks.tag(tags.value);
    tags.value = "";
  });
  const command = `finecut refilter ${/^[\w.-]+$/.test(facts.dataset) ? facts.dataset : "DATASET"} --drop ${FILE}`;
  const some = h(
    "div",
    { class: "marktools", hidden: true },
    button("Show only these", () => finecut.showOnly({ ticked: true }), "only-ticked"),
    button(`Save ${FILE}`, save, "save-marks"),
    button("Untick all", marks.clear, "untick"),
    tagging,
    h("p", { class: "rule" }, h("span", { class: "quiet", text: "Reject them, instead of the clips on earlier lists:" }), h("code", { text: command }), finecut.copied(command, "the command")),
  );
  const shown = () => {
    let count = 0;
    let seconds = 0;
    let bytes = 0;
    for (let row = 0; row < clips.ready; row += 1) {
      if (!marks.ticked[row]) continue;
      count += 1;
      seconds += clips.duration[row];
      bytes += clips.bytes[row];
    }
    told.textContent = count ? `${finecut.several(count, "clip")} ticked · ${finecut.duration(seconds)} · ${finecut.size(bytes)}` : "No clip is ticked. The x key ticks the clip that has the focus; with Shift, all since the last one.";
    some.hidden = !count;
    warned.hidden = marks.isKept();
    warned.textContent = `This browser does not keep what is ticked, because it has no room or forbids it: save ${FILE} before you leave the page.`;
    for (const input of at("grid").querySelectorAll(".tick input")) input.checked = marks.ticked[Number(input.dataset.row)] === 1;
  };
  marks.onchange(shown);
  at("marks").append(
    h("summary", { text: "Ticked clips" }),
    h("div", { class: "marktools" }, told, button("Tick all that are shown", () => marks.tick(finecut.shown.rows, true), "tick-all"), button(`Load ${FILE} …`, () => file.click(), "load-marks"), file),
    some,
    warned,
  );

  /** Of one clip: whether it is ticked, its tags and its note. */
  finecut.markOf = (row) => {
    const mark = marks.of(row);
    const box = h("input", { type: "checkbox", id: "clip-ticked" });
    box.checked = marks.ticked[row] === 1;
    box.addEventListener("change", () => marks.tick([row], box.checked));
    const field = (id, text, value, act) => {
      const input = h("input", { type: "text", id, autocomplete: "off", value });
      input.addEventListener("input", () => {
        act(input.value);
        box.checked = true;
      });
      // Arrow keys move in what is written here, not to other clips.
      input.addEventListener("keydown", (event) => event.stopPropagation());
      return h("label", { class: "field" }, h("span", { text }), input);
    };
    return h(
      "div",
      { class: "mark-of" },
      h("label", { class: "ticked" }, box, " Ticked"),
      field("clip-tags", "Tags, with commas between", mark.tags.join(", "), (text) => marks.say(row, { tags: marks.tagsIn(text) })),
      field("clip-note", "Note", mark.note, (note) => marks.say(row, { note })),
    );
  };
})();
