/* Groups of look-alikes, as finecut dedup found them. */
(() => {
  const { facts, h, at } = finecut;
  const AT_ONCE = 20;
  const STRIP = 24;
  /* What sets a copy apart, in the order of its bits. */
  const HOW = ["mirrored", "with bars", "cropped", "with a logo", "shifted in time", "by the model"];
  let groups = null;
  let byRow = null;

  const loaded = async () => {
    if (groups) return groups;
    groups = [];
    byRow = new Map();
    for (const index of facts.chunks.groups.keys()) {
      const columns = await finecut.load("groups", index);
      const rows = finecut.unpacked(Uint32Array, columns.row);
      const kept = finecut.unpacked(Uint8Array, columns.kept);
      const why = finecut.unpacked(Uint8Array, columns.why);
      const cosines = finecut.unpacked(Float32Array, columns.cosine);
      let from = 0;
      for (const size of finecut.unpacked(Uint32Array, columns.sizes)) {
        const group = [];
        for (let each = from; each < from + size; each += 1) {
          group.push({ row: rows[each], kept: kept[each] === 1, cosine: cosines[each], shown: why[3 * each], changes: why[3 * each + 1], how: why[3 * each + 2] });
          byRow.set(rows[each], group);
        }
        groups.push(group);
        from += size;
      }
    }
    return groups;
  };
  finecut.groupOf = async (row) => {
    if (!facts.groups) return null;
    await loaded();
    return byRow.get(row) || null;
  };

  /** Film, time and size of a clip, and why it goes. */
  const told = (member) => {
    const clips = finecut.clips;
    const facts = [`${finecut.fileName(member.row)}, ${finecut.clock(clips.start[member.row])} to ${finecut.clock(clips.end[member.row])}`];
    if (clips.width[member.row]) facts.push(`${clips.width[member.row]} × ${clips.height[member.row]}, ${finecut.size(clips.bytes[member.row])}`);
    if (!member.kept) {
      const how = HOW.filter((_, bit) => member.how & (1 << bit));
      facts.push(member.shown ? `pictures ${member.shown} % alike, what changes ${member.changes} %${how.length ? `; ${how.join(", ")}` : ""}` : "by its vector alone");
    }
    return facts.map((text) => h("span", { class: "quiet fact", text }));
  };
  const shown = (group) =>
    h(
      "li",
      { class: "group" },
      h("p", { class: "quiet", text: `${finecut.several(group.length, "clip")}, of which ${finecut.several(group.filter((member) => member.kept).length, "stays", "stay")}` }),
      h(
        "ul",
        { class: "strip" },
        group.slice(0, STRIP).map((member) => h("li", { class: member.kept ? "stays" : null }, finecut.thumb(member.row, member.kept ? "stays" : `${(100 * member.cosine).toFixed(1)} % alike`), told(member))),
      ),
      group.length > STRIP ? h("p", { class: "quiet", text: `and ${finecut.number(group.length - STRIP)} more` }) : null,
    );
  let count = 0;
  const more = () => {
    const place = at("duplicates");
    place.append(...groups.slice(count, count + AT_ONCE).map(shown));
    count = Math.min(groups.length, count + AT_ONCE);
    at("more-duplicates").hidden = count >= groups.length;
  };
  let ready = false;
  finecut.views.duplicates = async () => {
    if (ready) return;
    ready = true;
    at("about-duplicates").textContent = facts.groups
      ? `${finecut.several(facts.groups, "group")} of clips that look the same, largest first. One clip of each group stays.`
      : "No duplicates are listed. Run finecut dedup to find them, then finecut report to show them here.";
    if (!facts.groups) return;
    await loaded();
    at("more-duplicates").addEventListener("click", more);
    more();
  };
})();
