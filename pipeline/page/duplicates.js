/* Groups of look-alikes, as finecut dedup found them. */
(() => {
  const { facts, h, at } = finecut;
  const AT_ONCE = 20;
  const STRIP = 24;
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
      const cosines = finecut.unpacked(Float32Array, columns.cosine);
      let from = 0;
      for (const size of finecut.unpacked(Uint32Array, columns.sizes)) {
        const group = [];
        for (let each = from; each < from + size; each += 1) {
          group.push({ row: rows[each], kept: kept[each] === 1, cosine: cosines[each] });
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

  const shown = (group) =>
    h(
      "li",
      { class: "group" },
      h("p", { class: "quiet", text: `${finecut.several(group.length, "clip")}, of which ${finecut.several(group.filter((member) => member.kept).length, "stays", "stay")}` }),
      h(
        "ul",
        { class: "strip" },
        group.slice(0, STRIP).map((member) => h("li", { class: member.kept ? "stays" : null }, finecut.thumb(member.row, member.kept ? "stays" : `${(100 * member.cosine).toFixed(1)} % alike`))),
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
