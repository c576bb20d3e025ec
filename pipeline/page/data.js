"use strict";
/* What all parts share: facts, chunks of columns, and a way to make elements that knows only text. */
const finecut = {};
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  facts.chunks = Object.assign(
    { clips: [], texts: [], sources: [], failures: [], groups: [], alike: [] },
    facts.chunks,
  );
  finecut.facts = facts;
  finecut.views = {};
  finecut.ROWS = { clips: 8192, texts: 1024, alike: 4096, sources: 2048 };

  // ── elements ──────────────────────────────────────────────────────────────────────────────────

  const given = (element, name, value) => {
    if (value === null || value === undefined || value === false) return;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  };
  const made = (element, attributes, children) => {
    for (const [name, value] of Object.entries(attributes || {})) given(element, name, value);
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  };
  /** An element; what stands in it is text or elements, never markup. */
  finecut.h = (tag, attributes, ...children) =>
    made(document.createElement(tag), attributes, children);
  finecut.svg = (tag, attributes, ...children) =>
    made(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  finecut.at = (id) => document.getElementById(id);

  // ── words ─────────────────────────────────────────────────────────────────────────────────────

  const grouped = new Intl.NumberFormat("en");
  finecut.number = (value) => grouped.format(value);
  finecut.several = (count, one, many) =>
    `${grouped.format(count)} ${count === 1 ? one : many || `${one}s`}`;
  finecut.percent = (part, whole) => {
    if (!whole) return "0\u00a0%";
    const share = (100 * part) / whole;
    if (share > 0 && share < 1) return "<\u00a01\u00a0%";
    return share > 99 && share < 100 ? ">\u00a099\u00a0%" : `${Math.round(share)}\u00a0%`;
  };
  /** 3.5 → 3.5 s, 75 → 1:15, 3700 → 1:01:40 */
  finecut.duration = (seconds) => {
    if (seconds < 60) return `${seconds.toFixed(1)}\u00a0s`;
    const whole = Math.round(seconds);
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(whole / 60);
    if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
    return `${grouped.format(Math.floor(minutes / 60))}:${two(minutes % 60)}:${two(whole % 60)}`;
  };
  /** A place in a film: 0:03.5 */
  finecut.clock = (seconds) => {
    const tenths = Math.round(seconds * 10);
    const minutes = Math.floor(tenths / 600);
    const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
    if (minutes < 60) return `${minutes}:${rest}`;
    return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
  };
  finecut.size = (bytes) => {
    const units = ["B", "KB", "MB", "GB", "TB"];
    let at = 0;
    for (; bytes >= 1000 && at < units.length - 1; at += 1) bytes /= 1000;
    return `${at ? bytes.toFixed(1) : bytes}\u00a0${units[at]}`;
  };
  finecut.score = (value) => {
    if (Number.isNaN(value)) return "none";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1000) return grouped.format(Math.round(value));
    if (size < 0.0001) return value.toExponential(1);
    return String(Number(value.toPrecision(3)));
  };
  const NAMES = {
    duration: "duration",
    short_side: "shorter side",
  };
  finecut.sign = (comparison) => ({ ">=": "≥", "<=": "≤", ">": ">", "<": "<" })[comparison];
  // Scores have names that strangers gave them: their keys begin with a word, other measures' do not.
  const SCORE = "score-";
  finecut.keyOf = (score) => `${SCORE}${score}`;
  finecut.isScore = (key) => key.startsWith(SCORE);
  finecut.plain = (key) => (finecut.isScore(key) ? key.slice(SCORE.length) : key);
  /** The rules of a measure, the strictest first. */
  finecut.rulesOf = (key) =>
    facts.rules
      .filter((rule) => rule.score === finecut.plain(key))
      .sort((one, other) => (one.comparison[0] === ">" ? other.limit - one.limit : one.limit - other.limit));
  finecut.named = (key) => {
    const score = finecut.plain(key);
    for (const known of [NAMES, facts.titles]) if (Object.hasOwn(known, score)) return known[score];
    return score.replaceAll("_", " ").trim() || score || "score";
  };

  // ── chunks ────────────────────────────────────────────────────────────────────────────────────

  // Only data that lies where this page's data lies may become a script.
  const OURS = /^data\/[a-z]+-\d{4,}\.[0-9a-f]{12}\.js$/;
  const checked = (name) => {
    if (!OURS.test(name)) throw new TypeError(`${name} is not a chunk of data`);
    return name;
  };
  const policy = window.trustedTypes
    ? window.trustedTypes.createPolicy("finecut", { createScriptURL: checked })
    : { createScriptURL: checked };
  const asked = new Map();
  const waiting = new Map();

  /** A chunk calls this when it is loaded. */
  finecut.chunk = (kind, index, columns) => {
    const take = waiting.get(`${kind}/${index}`);
    if (take) take(columns);
  };
  /** The columns of a chunk; the same promise for all who ask. */
  finecut.load = (kind, index) => {
    const key = `${kind}/${index}`;
    if (!asked.has(key)) asked.set(key, fetched(kind, index, key));
    return asked.get(key);
  };
  const fetched = (kind, index, key) =>
    new Promise((done, failed) => {
      const name = facts.chunks[kind][index];
      const script = document.createElement("script");
      const over = () => {
        script.remove();
        waiting.delete(key);
      };
      waiting.set(key, done);
      script.onload = () => {
        if (waiting.has(key)) over();
        failed(new Error(`data/${name} contains something else`));
      };
      script.onerror = () => {
        over();
        asked.delete(key);
        finecut.trouble(
          `data/${name} could not be loaded. The page and its folder data/ belong together: ` +
            "usually only the page was copied, or the report was written again meanwhile (then reload the page).",
        );
        failed(new Error(name));
      };
      script.src = policy.createScriptURL(`data/${name}`);
      document.head.append(script);
    });
  finecut.trouble = (text) => {
    const place = finecut.at("trouble");
    place.textContent = text;
    place.hidden = false;
  };

  const bytes = (text) => {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text);
    const found = new Uint8Array(raw.length);
    for (let at = 0; at < raw.length; at += 1) found[at] = raw.charCodeAt(at);
    return found;
  };
  // Stored with the lowest byte first, as every machine that shows pages has it.
  finecut.unpacked = (Kind, text) => new Kind(bytes(text).buffer);

  // ── clips ─────────────────────────────────────────────────────────────────────────────────────

  const KINDS = {
    source: Uint32Array,
    start: Float64Array,
    end: Float64Array,
    reason: Uint16Array,
    width: Uint16Array,
    height: Uint16Array,
    rate: Float32Array,
    frames: Uint32Array,
    bytes: Float64Array,
    first: Int32Array,
    last: Int32Array,
    marked: Uint8Array,
  };
  const clips = { count: facts.count, ready: 0, scores: new Map(), ids: new Uint8Array(facts.count * 16) };
  for (const [name, Kind] of Object.entries(KINDS)) clips[name] = new Kind(facts.count);
  clips.duration = new Float32Array(facts.count);
  clips.short_side = new Float32Array(facts.count);
  for (const name of facts.scores) clips.scores.set(name, new Float32Array(facts.count).fill(NaN));
  finecut.clips = clips;

  const entered = (index, columns) => {
    const offset = index * finecut.ROWS.clips;
    for (const [name, Kind] of Object.entries(KINDS)) {
      clips[name].set(finecut.unpacked(Kind, columns[name]), offset);
    }
    clips.ids.set(finecut.unpacked(Uint8Array, columns.id), offset * 16);
    for (const [name, values] of columns.scores) {
      clips.scores.get(name).set(finecut.unpacked(Float32Array, values), offset);
    }
    for (let row = offset; row < offset + columns.count; row += 1) {
      clips.duration[row] = clips.end[row] - clips.start[row];
      clips.short_side[row] = Math.min(clips.width[row], clips.height[row]) || NaN;
    }
    clips.ready = offset + columns.count;
  };
  /** Load all clips; `some` is called after the first chunk, so that something can be seen. */
  finecut.loadClips = async (some) => {
    const all = facts.chunks.clips.map((_, index) => index);
    const promises = all.slice(0, 1).map((index) => finecut.load("clips", index));
    if (promises.length) entered(0, await promises[0]);
    some();
    const rest = all.slice(1).map((index) => finecut.load("clips", index));
    for (const [at, promise] of rest.entries()) {
      entered(at + 1, await promise);
      asked.set(`clips/${at + 1}`, null); // its base64 is not needed any more
    }
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
    const wanted = [];
    for (let at = 0; at < 32; at += 2) wanted.push(parseInt(hex.slice(at, at + 2), 16));
    for (let row = 0; row < clips.ready; row += 1) {
      if (wanted.every((byte, at) => clips.ids[row * 16 + at] === byte)) return row;
    }
    return -1;
  };
  const MEASURES = new Map([["duration", clips.duration], ["short_side", clips.short_side], ["size", clips.bytes]]);
  /** The numbers of a score, or of what is as good as one, by its key. */
  finecut.values = (key) => (finecut.isScore(key) ? clips.scores.get(finecut.plain(key)) : MEASURES.get(key));
  finecut.measured = () => [...facts.scores.map(finecut.keyOf), "duration", "short_side"];
  finecut.kept = (row) => clips.reason[row] === 0;
  finecut.reason = (row) => facts.reasons[clips.reason[row]];

  const texts = new Map();
  const nothing = { captions: [], errors: [], codec: "", models: [], made: [] };
  const textOf = (columns, row) => {
    const at = row % finecut.ROWS.texts;
    return {
      captions: columns.captions[at],
      errors: columns.errors[at],
      codec: columns.codec[at],
      models: columns.models[at],
      made: columns.made[at],
    };
  };
  /** What was said of a clip, if it is here already. */
  finecut.textNow = (row) => {
    const columns = texts.get(Math.floor(row / finecut.ROWS.texts));
    return columns ? textOf(columns, row) : null;
  };
  finecut.text = async (row) => {
    const index = Math.floor(row / finecut.ROWS.texts);
    try {
      texts.set(index, await finecut.load("texts", index));
    } catch {
      return nothing;
    }
    return textOf(texts.get(index), row);
  };

  // ── sources ───────────────────────────────────────────────────────────────────────────────────

  finecut.sources = { name: [], state: [], seconds: [], first: [], count: [], lost: [], spans: [], told: [] };
  finecut.loadSources = async () => {
    for (const index of facts.chunks.sources.keys()) {
      const columns = await finecut.load("sources", index);
      for (const name of Object.keys(finecut.sources)) finecut.sources[name].push(...(columns[name] || []));
    }
  };
  finecut.sourceName = (row) => finecut.sources.name[clips.source[row]] || "";
  /** What is known of a clip's source besides: names and texts. */
  finecut.told = (row) => finecut.sources.told[clips.source[row]] || [];
  /** The last part of a name, which is what people know. */
  finecut.fileName = (row) => finecut.sourceName(row).split("/").pop();
})();
