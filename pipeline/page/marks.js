/* Clips that somebody ticked, with tags and a note: kept by the browser, and written as a list of ids
   that finecut reads. Each line: an id, and after tabs its tags and its note. */
(() => {
  const { facts, clips } = finecut;
  const HEAD = "# id, tags, note";
  const LINE = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\t|$)/;
  // Pages on a disk share what the browser keeps, so where this page lies belongs to its name.
  const KEY = `finecut-marks ${facts.dataset} ${window.location.pathname.replace(/[^/]*$/, "")}`;
  const marks = new Map();
  // What was unticked comes back with its tags if it is ticked again.
  const before = new Map();
  const ticked = new Uint8Array(clips.count);
  const changed = [];
  let kept = true;

  const flat = (text) => text.replace(/\s+/g, " ").trim();
  const tagsIn = (text) => [...new Set(text.split(",").map(flat).filter(Boolean))];
  const written = () => {
    const lines = [...marks].map(([id, { tags, note }]) => [id, tags.join(", "), note].join("\t").trimEnd());
    return `${[HEAD, ...lines].join("\n")}\n`;
  };
  /** The marks in a text, and how many lines said something else. */
  const read = (text) => {
    const found = new Map();
    let others = 0;
    for (const line of text.replace(/^\ufeff/, "").split(/\r?\n/)) {
      const said = line.trim();
      if (!said || said.startsWith("#")) continue;
      const id = said.match(LINE);
      const [, tags = "", ...note] = said.split("\t");
      if (id) found.set(id[1], { tags: tagsIn(tags), note: flat(note.join(" ")) });
      else others += 1;
    }
    return { found, others };
  };

  // ── what the browser keeps ────────────────────────────────────────────────────────────────────

  const store = () => {
    try {
      if (marks.size) window.localStorage.setItem(KEY, written());
      else window.localStorage.removeItem(KEY);
      kept = true;
    } catch {
      kept = false; // forbidden here, or full
    }
  };
  const stored = () => {
    try {
      return window.localStorage.getItem(KEY) || "";
    } catch {
      kept = false;
      return "";
    }
  };
  const over = () => {
    store();
    for (const act of changed) act();
  };

  // ── what others do with them ──────────────────────────────────────────────────────────────────

  const put = (row, on) => {
    const id = finecut.id(row);
    if (on && !marks.has(id)) marks.set(id, before.get(id) || { tags: [], note: "" });
    if (!on && marks.has(id)) {
      before.set(id, marks.get(id));
      marks.delete(id);
    }
    ticked[row] = on ? 1 : 0;
  };
  const tick = (rows, on) => {
    for (const row of rows) put(row, on);
    over();
  };
  /** Add marks that were read, to those there are; how many of them are of clips on this page. */
  const add = (found) => {
    const here = finecut.rowsOf([...found.keys()]);
    for (const row of here) {
      marks.set(finecut.id(row), found.get(finecut.id(row)));
      ticked[row] = 1;
    }
    return here.length;
  };
  const load = (text) => {
    const { found, others } = read(text);
    const here = add(found);
    over();
    return { here, elsewhere: found.size - here, others };
  };
  finecut.marks = {
    ticked,
    tick,
    load,
    written,
    tagsIn,
    of: (row) => marks.get(finecut.id(row)) || { tags: [], note: "" },
    /** Tags and a note of a clip, which ticks it. */
    say: (row, said) => {
      put(row, true);
      const id = finecut.id(row);
      marks.set(id, { ...marks.get(id), ...said, note: flat(said.note ?? marks.get(id).note) });
      over();
    },
    /** The same tags for all of them, besides those they have. */
    tag: (text) => {
      for (const [id, mark] of marks) marks.set(id, { ...mark, tags: [...new Set([...mark.tags, ...tagsIn(text)])] });
      over();
    },
    clear: () => {
      for (const [id, mark] of marks) before.set(id, mark);
      marks.clear();
      ticked.fill(0);
      over();
    },
    count: () => marks.size,
    isKept: () => kept,
    /** Marks from the last time; when the clips are there. */
    recall: () => {
      add(read(stored()).found);
      for (const act of changed) act();
    },
    onchange: (act) => changed.push(act),
  };
})();
