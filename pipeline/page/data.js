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
  facts.starts = Object.assign({ clips: [], texts: [], sources: [] }, facts.starts);
  finecut.ROWS = { alike: 4096 };

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

  /** A chunk calls this when it is loaded; which one it is says its name. */
  finecut.chunk = (kind, index, columns) => {
    const name = document.currentScript.src.split("/").pop();
    const take = waiting.get(name);
    if (take) take(columns);
  };
  /** The columns of a chunk; the same promise for all who ask. */
  finecut.load = (kind, index) => {
    const name = facts.chunks[kind][index];
    if (!asked.has(name)) asked.set(name, fetched(name));
    return asked.get(name);
  };
  /** What was loaded is not needed any more; who asks again waits for it again. */
  finecut.drop = (kind, index) => asked.delete(facts.chunks[kind][index]);
  /** The chunk that a row is in. */
  finecut.chunkOf = (kind, row) => {
    const starts = facts.starts[kind];
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle][0] <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  const fetched = (name) =>
    new Promise((done, failed) => {
      const script = document.createElement("script");
      const over = () => {
        script.remove();
        waiting.delete(name);
      };
      waiting.set(name, done);
      script.onload = () => {
        if (waiting.has(name)) over();
        failed(new Error(`data/${name} contains something else`));
      };
      script.onerror = () => {
        over();
        asked.delete(name);
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
  /** The same, put into an array from a place on. */
  finecut.unpackedInto = (array, text, from) => {
    const place = new Uint8Array(array.buffer, array.byteOffset + from * array.BYTES_PER_ELEMENT);
    if (place.setFromBase64) place.setFromBase64(text);
    else place.set(bytes(text));
  };
})();
