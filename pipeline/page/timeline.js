/* A film as a line: what was kept stands high, what was rejected is lower and hatched, what failed is
   an empty frame, and what nobody asked for is the line itself. Shape says as much as colour. */
(() => {
  const { clips, sources, h } = finecut;
  const LANES = 3;

  /** What became of each piece of a film, in order. */
  finecut.pieces = (source) => {
    const found = [];
    const first = sources.first[source];
    for (let row = first; row < first + sources.count[source]; row += 1) {
      found.push({
        start: clips.start[row],
        end: clips.end[row],
        kind: finecut.kept(row) ? "kept" : "rejected",
        row,
      });
    }
    for (const [start, end] of sources.spans[source]) found.push({ start, end, kind: "failed", row: -1 });
    found.sort((one, other) => one.start - other.start || one.end - other.end);
    const ends = [];
    for (const piece of found) {
      // Pieces that overlap lie under each other.
      let lane = ends.findIndex((end) => end <= piece.start + 0.001);
      if (lane < 0) lane = Math.min(ends.length, LANES - 1);
      ends[lane] = Math.max(ends[lane] || 0, piece.end);
      piece.lane = lane;
    }
    return found;
  };
  const said = (piece) => {
    const where = `${finecut.clock(piece.start)} to ${finecut.clock(piece.end)}`;
    if (piece.kind === "rejected") return `${where}, rejected by ${finecut.reason(piece.row)}`;
    return `${where}, ${piece.kind}`;
  };
  /** The parts of a film in numbers. */
  finecut.counted = (source) => {
    const counts = { kept: 0, rejected: 0, failed: sources.lost[source] };
    const first = sources.first[source];
    for (let row = first; row < first + sources.count[source]; row += 1) {
      counts[finecut.kept(row) ? "kept" : "rejected"] += 1;
    }
    return counts;
  };

  const hatched = (context, x, y, width, height, colour) => {
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.beginPath();
    for (let at = x - height; at < x + width; at += 5) {
      context.moveTo(at, y + height);
      context.lineTo(at + height, y);
    }
    context.stroke();
    context.restore();
    context.lineWidth = 1;
    context.strokeStyle = colour;
    context.strokeRect(x + 0.5, y + 0.5, Math.max(0, width - 1), height - 1);
  };
  const drawn = (canvas, pieces, seconds, chosen, current) => {
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    context.scale(ratio, ratio);
    context.fillStyle = colour("line");
    context.fillRect(0, height - 3, width, 2);
    const lanes = 1 + Math.max(0, ...pieces.map((piece) => piece.lane));
    const lane = (height - 6) / lanes;
    pieces.forEach((piece, at) => {
      const x = (piece.start / seconds) * width;
      const wide = Math.max(1.5, ((piece.end - piece.start) / seconds) * width - 1);
      const tall = (piece.kind === "kept" ? 1 : 0.62) * (lane - 2);
      const y = 1 + piece.lane * lane + (lane - 2 - tall);
      if (piece.kind === "kept") {
        context.fillStyle = colour("kept");
        context.fillRect(x, y, wide, tall);
      } else if (piece.kind === "rejected") {
        hatched(context, x, y, wide, tall, colour("rejected"));
      } else {
        context.strokeStyle = colour("failed");
        context.lineWidth = 1.5;
        context.setLineDash([3, 2]);
        context.strokeRect(x + 0.75, y + 0.75, Math.max(0.5, wide - 1.5), tall - 1.5);
        context.setLineDash([]);
      }
      if (at === chosen || piece.row === current) {
        context.strokeStyle = colour("ink");
        context.lineWidth = 2;
        context.strokeRect(x - 1, 1 + piece.lane * lane - 1, wide + 2, lane);
      }
    });
  };

  const tip = finecut.at("tip");
  const told = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const left = Math.min(x, window.innerWidth - tip.offsetWidth - 8);
    tip.style.transform = `translate(${Math.max(8, left)}px, ${y + 14}px)`;
  };
  const hushed = () => {
    tip.hidden = true;
  };

  const tracks = new Set();
  finecut.redraw = () => {
    for (const track of tracks) {
      if (track.canvas.isConnected) track.draw();
      else tracks.delete(track);
    }
  };
  window.addEventListener("resize", () => requestAnimationFrame(finecut.redraw));

  /** A film's line. Arrow keys go from piece to piece, Enter opens the clip. */
  finecut.track = (source, current = -2) => {
    const pieces = finecut.pieces(source);
    const seconds = Math.max(sources.seconds[source], ...pieces.map((piece) => piece.end), 0.001);
    let chosen = -1;
    const canvas = h("canvas", { class: "track" });
    const place = h("div", { class: "timeline" }, canvas);
    const draw = () => drawn(canvas, pieces, seconds, chosen, current);
    tracks.add({ canvas, draw });
    requestAnimationFrame(draw);
    if (!pieces.length) {
      place.setAttribute("role", "img");
      place.setAttribute("aria-label", "No clips");
      return place;
    }
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      const when = ((event.clientX - box.left) / box.width) * seconds;
      const some = pieces.flatMap((piece, index) =>
        piece.start <= when && when < Math.max(piece.end, piece.start + seconds / box.width) ? [index] : [],
      );
      const lanes = 1 + Math.max(...pieces.map((piece) => piece.lane));
      const lane = Math.floor(((event.clientY - box.top) / box.height) * lanes);
      return some.find((index) => pieces[index].lane === lane) ?? some[0] ?? -1;
    };
    const choose = (index) => {
      chosen = Math.max(0, Math.min(pieces.length - 1, index));
      place.setAttribute("aria-valuenow", chosen + 1);
      place.setAttribute("aria-valuetext", said(pieces[chosen]));
      draw();
      const box = canvas.getBoundingClientRect();
      told(said(pieces[chosen]), box.left + (pieces[chosen].start / seconds) * box.width, box.bottom - 8);
    };
    const open = (index) => {
      if (index >= 0 && pieces[index].row >= 0) finecut.open(pieces[index].row);
    };
    const now = Math.max(0, pieces.findIndex((piece) => piece.row === current));
    const attributes = {
      role: "slider",
      tabindex: 0,
      "aria-label": `Clips of ${sources.name[source]}`,
      "aria-valuemin": 1,
      "aria-valuemax": pieces.length,
      "aria-valuenow": now + 1,
      "aria-valuetext": said(pieces[now]),
    };
    for (const [name, value] of Object.entries(attributes)) place.setAttribute(name, value);
    place.addEventListener("pointermove", (event) => {
      const index = at(event);
      if (index < 0) hushed();
      else told(said(pieces[index]), event.clientX, event.clientY);
      place.classList.toggle("hot", index >= 0 && pieces[index].row >= 0);
    });
    place.addEventListener("pointerleave", hushed);
    place.addEventListener("click", (event) => open(at(event)));
    place.addEventListener("blur", () => {
      chosen = -1;
      hushed();
      draw();
    });
    place.addEventListener("keydown", (event) => {
      const from = chosen < 0 ? now - (current >= 0 ? 0 : 1) : chosen;
      const to = { ArrowRight: from + 1, ArrowLeft: from - 1, Home: 0, End: pieces.length - 1 }[event.key];
      if (to !== undefined) choose(to);
      else if (event.key === "Enter") open(chosen < 0 ? now : chosen);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return place;
  };
})();
