/* One clip, large: its film, what was said and measured, where it lies, and what is like it. */
(() => {
  const { facts, clips, sources, h, at } = finecut;
  const dialog = at("clip");
  // Which clip is wanted, and which is shown.
  let now = -1;
  let painted = -1;
  let before = null;
  let leaving = null;

  const list = (pairs, name) =>
    h(
      "dl",
      { class: name },
      pairs.map(([term, value, mark]) => h("div", { class: mark || null }, h("dt", { text: term }), h("dd", {}, value))),
    );
  finecut.pairs = list;

  const film = (row) => {
    const place = h("div", { class: "stage" });
    const video = h("video", {
      controls: true,
      playsinline: true,
      loop: true,
      "aria-label": `The clip ${finecut.described(row)}`,
    });
    video.addEventListener("error", () => {
      const why = h("p", { class: "quiet" });
      why.textContent = finecut.isInReach
        ? "This clip cannot be played here: its file is not beside the page, or this browser does not support its codec."
        : "This clip lies in an archive, and a page that was opened from a disk cannot read a part of a file. Serve the dataset's folder (python -m http.server), or make files of it with finecut unpack.";
      video.replaceWith(why);
    });
    place.append(video);
    // It was opened by a click or a key, so sound is welcome; who wants stillness presses play.
    const begin = () => !finecut.isStill() && video.src && video.play().catch(() => {});
    finecut.given(video, finecut.filmOf(row)).then(begin);
    return place;
  };
  const verdict = (row) =>
    finecut.kept(row)
      ? h("p", { class: "verdict kept", text: clips.marked[row] ? "Kept, but marked" : "Kept" })
      : h("p", { class: "verdict rejected", text: `Rejected by ${finecut.reason(row)}${clips.marked[row] ? ", and marked" : ""}` });
  const words = (text) =>
    text.captions.length
      ? h(
          "div",
          { class: "captions" },
          text.captions.map(([model, said]) => h("figure", {}, h("blockquote", { text: said }), h("figcaption", { text: model }))),
        )
      : null;
  const holds = { ">=": (a, b) => a >= b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, "<": (a, b) => a < b };
  const scores = (measured) => {
    const pairs = [];
    for (const [name, value] of measured) {
      const key = finecut.keyOf(name);
      const rules = finecut.rulesOf(key);
      const broken = rules.filter((rule) => !holds[rule.comparison](value, Math.fround(rule.limit)));
      if (Number.isNaN(value) && !broken.length) continue;
      const parts = [h("span", { text: finecut.score(value) })];
      const rule = broken[0] || rules[0];
      if (rule) parts.push(h("small", { text: ` ${finecut.sign(rule.comparison)} ${rule.limit}` }));
      if (broken.length) parts.push(h("span", { class: "unseen", text: ", not satisfied" }));
      pairs.push([finecut.named(key), parts, broken.length ? "broken" : null]);
    }
    return pairs.length ? [h("h3", { text: "Scores" }), list(pairs, "numbers")] : null;
  };
  const copied = (text, what) => {
    const button = h("button", { type: "button", class: "plain small", text: "Copy", "aria-label": `Copy ${what}` });
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select and copy it";
      }
    });
    return button;
  };
  finecut.copied = copied;
  /** How its pictures came of the film, where a document says so. */
  const made = ([how, reason, encoded, span]) => {
    const some = `${finecut.several(encoded, "picture")} encoded`;
    const words = {
      copied: "copied from the source video, not encoded",
      smart: `copied except for the ends: ${some}`,
      encoded: reason ? `encoded, because it could not be copied: ${reason}` : "encoded",
    };
    const pairs = [["made", Object.hasOwn(words, how) ? words[how] : [how, reason].filter(Boolean).join(": ")]];
    if (span) pairs.push(["copied", `really ${finecut.clock(span[0])} – ${finecut.clock(span[1])}`]);
    return pairs;
  };
  const known = (row, text) => {
    const id = finecut.id(row);
    const pairs = [
      ["film", sources.name[clips.source[row]] || "unknown"],
      ["from – to", `${finecut.clock(clips.start[row])} – ${finecut.clock(clips.end[row])} (${finecut.duration(clips.duration[row])})`],
    ];
    if (clips.width[row]) {
      pairs.push(["pictures", `${clips.width[row]} × ${clips.height[row]}, ${finecut.score(clips.rate[row])} a second, ${finecut.number(clips.frames[row])} in all`]);
      pairs.push(["file", `${text.codec || "unknown codec"}, ${finecut.size(clips.bytes[row])}`]);
    }
    if (text.made.length) pairs.push(...made(text.made));
    pairs.push(["id", [h("code", { text: id }), " ", copied(id, "the id")]]);
    for (const [name, label] of text.labels || []) pairs.push([finecut.named(finecut.keyOf(name)), label]);
    for (const [name, model] of text.models) pairs.push([`${name} by`, model]);
    return [h("h3", { text: "Facts" }), list(pairs, "facts")];
  };
  const ofSource = (row) => {
    const told = finecut.told(row);
    return told.length ? [h("h3", { text: "About the source video" }), list(told.map(([name, text]) => [finecut.fields.titled(name), text]), "facts")] : null;
  };
  const errors = (text) =>
    text.errors.length
      ? [h("h3", { text: "Marked: the steps that broke down" }), list(text.errors.map(([name, said]) => [name, said || "no message"]), "facts errors")]
      : null;
  const alike = async (row, place) => {
    if (!facts.chunks.alike.length) return;
    const columns = await finecut.load("alike", Math.floor(row / finecut.ROWS.alike));
    columns.rows = columns.rows || finecut.unpacked(Int32Array, columns.row);
    columns.percents = columns.percents || finecut.unpacked(Uint8Array, columns.percent);
    const first = (row % finecut.ROWS.alike) * columns.most;
    const thumbs = [];
    for (let index = first; index < first + columns.most; index += 1) {
      const other = columns.rows[index];
      if (other >= 0) thumbs.push(h("li", {}, finecut.thumb(other, `${columns.percents[index]} % alike`)));
    }
    if (thumbs.length && now === row) {
      place.append(h("h3", { text: "Nearest clips" }), h("ul", { class: "strip", "aria-label": "Nearest clips" }, thumbs));
    }
  };
  const twins = async (row, place) => {
    const group = await finecut.groupOf(row);
    if (!group || now !== row) return;
    const others = group.filter((member) => member.row !== row);
    place.append(
      h("h3", { text: "Duplicates" }),
      h("ul", { class: "strip", "aria-label": "Duplicates" }, others.map((member) => h("li", {}, finecut.thumb(member.row, member.kept ? "stays" : `${Math.round(member.cosine * 100)} %`)))),
    );
  };
  const neighbour = (step) => {
    const rows = finecut.shown.rows;
    const place = rows.indexOf(now);
    return place < 0 ? -1 : rows[place + step] ?? -1;
  };
  const step = (by, text, label) => {
    const other = neighbour(by);
    const button = h("button", { type: "button", class: "plain", text, "aria-label": label, id: `step${by}`, onclick: () => finecut.open(other) });
    button.disabled = other < 0;
    return button;
  };

  // What is opened is a step that Back takes back; from clip to clip there is none.
  const isClip = () => window.location.hash.startsWith("#clip=");
  const remembered = (address) => {
    if (dialog.open || isClip()) history.replaceState(history.state, "", address);
    else history.pushState({ opened: true }, "", address);
  };
  const left = () => {
    if (!isClip()) return; // by Back, which closed it
    if (!history.state || !history.state.opened) {
      history.replaceState(null, "", "#clips"); // the page was begun with this clip
      return;
    }
    leaving = new Promise((done) => {
      window.addEventListener("popstate", () => requestAnimationFrame(done), { once: true });
      setTimeout(done, 500);
    }).then(() => {
      leaving = null;
      const focused = document.activeElement;
      // The browser went back to where one was when the clip was opened.
      if (focused && focused.dataset.item !== undefined && !dialog.open) focused.scrollIntoView({ block: "nearest" });
    });
    history.back();
  };

  /** Open a clip; the page remembers which, so that the address can be handed on. */
  finecut.open = async (row) => {
    if (row < 0) return;
    const focused = dialog.contains(document.activeElement) ? document.activeElement.id : "";
    if (!dialog.open) before = document.activeElement;
    now = row;
    const text = await finecut.text(row);
    const measured = await finecut.scoresOf(row).catch(() => new Map());
    await leaving;
    if (now !== row) return;
    painted = row;
    remembered(`#clip=${finecut.id(row)}`);
    const name = finecut.fileName(row) || finecut.id(row);
    const more = h("div", { class: "more-of" });
    hush();
    dialog.replaceChildren(
      h(
        "div",
        { class: "bar" },
        h("h2", { id: "clip-title" }, name, " ", h("span", { class: "quiet", text: finecut.clock(clips.start[row]) })),
        h("div", { class: "steps" }, step(-1, "←", "Previous clip"), step(1, "→", "Next clip"), h("button", { type: "button", class: "plain", id: "close", text: "Close", onclick: () => dialog.close() })),
      ),
      h(
        "div",
        { class: "pages" },
        h("div", { class: "left" }, film(row), finecut.track(clips.source[row], row)),
        h("div", { class: "right" }, ...[verdict(row), finecut.markOf(row), words(text), errors(text), scores(measured), known(row, text), ofSource(row)].flat().filter(Boolean)),
        more,
      ),
    );
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    const kept = focused && at(focused);
    (kept && !kept.disabled ? kept : at("close")).focus();
    twins(row, more).then(() => alike(row, more)).catch(() => {});
  };
  const hush = () => {
    for (const video of dialog.querySelectorAll("video")) {
      video.pause();
      video.removeAttribute("src");
      video.load();
    }
  };
  dialog.addEventListener("close", () => {
    if (dialog.open) return; // browsers say this late, and the next clip is shown already
    hush();
    dialog.replaceChildren();
    const place = finecut.shown.rows.indexOf(painted);
    const back = before;
    if (now === painted) now = -1;
    left();
    if (back && back.isConnected && back !== document.body && back.dataset.item === undefined) back.focus();
    else if (place >= 0 && !at("view-clips").hidden) finecut.grid.focus(place);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.tagName === "VIDEO") return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    finecut.open(neighbour(by));
  });
})();
