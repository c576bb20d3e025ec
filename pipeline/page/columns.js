/* Clips as columns: numbers of all of them, texts of those that are looked at, and their sources. */
(() => {
  const { facts } = finecut;
  // Chunks that are loaded at the same time, and chunks of texts that are kept.
  const AT_ONCE = 4;
  const KEPT_TEXTS = 40;
  // Of so many clips all scores are loaded at once, of more those that somebody asks for.
  const EAGER = 20000;

  const KINDS = {
    source: Uint32Array,
    start: Float32Array,
    end: Float32Array,
    duration: Float32Array,
    reason: Uint16Array,
    width: Uint16Array,
    height: Uint16Array,
    rate: Float32Array,
    frames: Uint32Array,
    bytes: Float32Array,
    first: Int32Array,
    last: Int32Array,
    marked: Uint8Array,
  };
  const clips = { count: facts.count, ready: 0, scores: new Map(), ids: new Uint8Array(facts.count * 16) };
  for (const [name, Kind] of Object.entries(KINDS)) clips[name] = new Kind(facts.count);
  clips.short_side = new Float32Array(facts.count);
  finecut.clips = clips;
  const heads = new Uint32Array(clips.ids.buffer);

  const entered = (index, columns) => {
    const [offset, source] = facts.starts.clips[index];
    for (const name of Object.keys(KINDS)) finecut.unpackedInto(clips[name], columns[name], offset);
    finecut.unpackedInto(clips.ids, columns.id, offset * 16);
    for (let row = offset; row < offset + columns.count; row += 1) {
      clips.source[row] += source;
      clips.short_side[row] = Math.min(clips.width[row], clips.height[row]) || NaN;
    }
    clips.ready = offset + columns.count;
  };
  /** Load all chunks of a kind, a few at the same time, and do something with each, in their order. */
  const each = async (kind, act) => {
    const all = facts.chunks[kind] ? facts.chunks[kind].length : 0;
    const asked = [];
    for (let index = 0; index < all; index += 1) {
      while (asked.length < AT_ONCE && index + asked.length < all) asked.push(finecut.load(kind, index + asked.length));
      act(index, await asked.shift());
      finecut.drop(kind, index); // its base64 is not needed any more
    }
  };
  /** Load all clips; `some` is called after the first chunk, so that something can be seen. */
  finecut.loadClips = async (some) => {
    await each("clips", (index, columns) => {
      entered(index, columns);
      if (index === 0) some();
    });
    if (facts.count <= EAGER) await finecut.need(facts.scores.map(finecut.keyOf));
  };

  // ── scores ────────────────────────────────────────────────────────────────────────────────────

  const letter = (digit) => String.fromCharCode(97 + digit);
  const kindOf = (place) => `score${letter(Math.floor(place / 26))}${letter(place % 26)}`;
  const scored = new Map();
  const loaded = async (name) => {
    const kind = kindOf(facts.scores.indexOf(name));
    const values = new Float32Array(facts.count).fill(NaN);
    await each(kind, (index, columns) => finecut.unpackedInto(values, columns.values, facts.starts[kind][index][0]));
    clips.scores.set(name, values);
  };
  /** Load these measures, by their keys, for all clips. */
  finecut.need = async (keys) => {
    for (const name of keys.filter(finecut.isScore).map(finecut.plain)) {
      if (!scored.has(name)) scored.set(name, loaded(name));
      await scored.get(name);
    }
  };
  /** Whether they are all there. */
  finecut.has = (keys) => keys.every((key) => !finecut.isScore(key) || clips.scores.has(finecut.plain(key)));
  /** All scores of one clip, by name. */
  finecut.scoresOf = async (row) => {
    const found = new Map();
    for (const [place, name] of facts.scores.entries()) {
      if (clips.scores.has(name)) {
        found.set(name, clips.scores.get(name)[row]);
        continue;
      }
      const kind = kindOf(place);
      const index = finecut.chunkOf(kind, row);
      const columns = await finecut.load(kind, index);
      finecut.drop(kind, index);
      found.set(name, finecut.unpacked(Float32Array, columns.values)[row - facts.starts[kind][index][0]]);
    }
    return found;
  };

  finecut.id = (row) => {
    let text = "";
    for (let at = 0; at < 16; at += 1) {
      if (at === 4 || at === 6 || at === 8 || at === 10) text += "-";
      text += clips.ids[row * 16 + at].toString(16).padStart(2, "0");
    }
    return text;
  };
  finecut.rowOf = (id) => {
    const hex = id.replaceAll("-", "");
    if (!/^[0-9a-f]{32}$/.test(hex)) return -1;
    const wanted = Uint8Array.from({ length: 16 }, (_, at) => parseInt(hex.slice(at * 2, at * 2 + 2), 16));
    const [head] = new Uint32Array(wanted.buffer);
    for (let row = 0; row < clips.ready; row += 1) {
      if (heads[row * 4] === head && wanted.every((byte, at) => clips.ids[row * 16 + at] === byte)) return row;
    }
    return -1;
  };
  // The first four bytes of an id, as they lie in memory.
  const headOf = (id) => {
    const bytes = Uint8Array.from({ length: 4 }, (_, at) => parseInt(id.slice(at * 2, at * 2 + 2), 16));
    return new Uint32Array(bytes.buffer)[0];
  };
  /** The rows of these ids, in order, without those that are not here. */
  finecut.rowsOf = (ids) => {
    const wanted = new Set(ids.map((id) => id.toLowerCase()));
    // A number of four bytes is looked up before a text is made.
    const some = new Set(Array.from(wanted, headOf));
    const found = [];
    for (let row = 0; row < clips.ready; row += 1) {
      if (some.has(heads[row * 4]) && wanted.has(finecut.id(row))) found.push(row);
    }
    return found;
  };
  const MEASURES = new Map([["duration", clips.duration], ["short_side", clips.short_side], ["size", clips.bytes]]);
  /** The numbers of a score, or of what is as good as one, by its key. */
  finecut.values = (key) => (finecut.isScore(key) ? clips.scores.get(finecut.plain(key)) : MEASURES.get(key));
  finecut.measured = () => [...facts.scores.map(finecut.keyOf), "duration", "short_side"];
  finecut.kept = (row) => clips.reason[row] === 0;
  finecut.reason = (row) => facts.reasons[clips.reason[row]];

  // ── texts ─────────────────────────────────────────────────────────────────────────────────────

  const texts = new Map();
  const nothing = { captions: [], errors: [], codec: "", models: [], made: [], labels: [] };
  /** Of clips in archives: in which one, and where in it the film and the preview are. */
  const liesAt = (columns, at) => {
    if (!columns.parts || columns.parts[at][0] === null) return null;
    const [offset, size, ...preview] = columns.parts[at];
    const [paths, which] = columns.archive;
    return { path: paths[which[at]], film: [offset, size], preview: preview.length ? preview : null };
  };
  const textOf = (index, columns, row) => {
    const at = row - facts.starts.texts[index][0];
    const found = {};
    for (const name of Object.keys(nothing)) {
      if (name === "captions") continue;
      const [values, which] = columns[name];
      found[name] = values[which[at]];
    }
    found.captions = columns.captions[at];
    found.lies = liesAt(columns, at);
    return found;
  };
  const columnsOf = async (row) => {
    const index = finecut.chunkOf("texts", row);
    const columns = texts.get(index) || (await finecut.load("texts", index));
    finecut.drop("texts", index);
    texts.delete(index);
    texts.set(index, columns);
    if (texts.size > KEPT_TEXTS) texts.delete(texts.keys().next().value);
    return [index, columns];
  };
  /** What was said of a clip, if it is here already. */
  finecut.textNow = (row) => {
    const index = finecut.chunkOf("texts", row);
    const columns = texts.get(index);
    return columns ? textOf(index, columns, row) : null;
  };
  finecut.text = async (row) => {
    try {
      const [index, columns] = await columnsOf(row);
      return textOf(index, columns, row);
    } catch {
      return nothing;
    }
  };
  /** On which sprite a clip is, and where on it; nothing where there is none. */
  finecut.spriteOf = async (row) => {
    const [index, columns] = await columnsOf(row);
    let place = row - facts.starts.texts[index][0];
    for (const [name, count] of columns.pictures) {
      if (place < count) return name ? { name, place } : null;
      place -= count;
    }
    return null;
  };

  // ── sources ───────────────────────────────────────────────────────────────────────────────────

  finecut.sources = { name: [], state: [], seconds: [], first: [], count: [], lost: [], spans: [], told: [] };
  finecut.loadSources = async () => {
    const { sources } = finecut;
    for (const [index, [, row]] of facts.starts.sources.entries()) {
      const columns = await finecut.load("sources", index);
      finecut.drop("sources", index);
      for (const name of Object.keys(sources)) for (const value of columns[name]) sources[name].push(value);
      const from = sources.first.length - columns.first.length;
      for (let at = from; at < sources.first.length; at += 1) {
        sources.first[at] += row;
        if (sources.name[at].startsWith(facts.folder)) sources.name[at] = sources.name[at].slice(facts.folder.length);
      }
    }
  };
  finecut.sourceName = (row) => finecut.sources.name[clips.source[row]] || "";
  /** What is known of a clip's source besides: names and texts. */
  finecut.told = (row) => finecut.sources.told[clips.source[row]] || [];
  /** The last part of a name, which is what people know. */
  finecut.fileName = (row) => finecut.sourceName(row).split("/").pop();
})();
