/* Pictures of clips. A poster lies on a sprite, with those of some hundred other clips. Where there is none, it is the
   thumbnail, or the first picture of the preview or of the film itself, painted once and remembered; a few are worked
   on at a time, so that ten thousand clips ask for a few files. */
(() => {
  const { facts, clips, h } = finecut;
  const AT_ONCE = 4;
  const REMEMBERED = 240;
  const WIDTH = 360;
  const PATIENCE = 10000;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const posters = new Map();
  const queue = [];
  let working = 0;

  finecut.url = (row) => {
    const id = finecut.id(row);
    const folder = finecut.kept(row) ? "clips" : "filtered_clips";
    return `${facts.links}/${folder}/${facts.sharded ? `${id.slice(0, 2)}/` : ""}${id}.mp4`;
  };
  finecut.previewUrl = (row) =>
    `${facts.links}/previews/${finecut.id(row)}/${clips.first[row]}_${clips.last[row]}.webp`;
  finecut.thumbnailUrl = (row) => `${facts.links}/thumbnails/${finecut.id(row)}.jpg`;
  finecut.hasPreview = (row) => clips.first[row] >= 0;
  finecut.isStill = () => still.matches;

  const drawn = (picture, width, height) => {
    const canvas = document.createElement("canvas");
    canvas.width = Math.min(WIDTH, width);
    canvas.height = Math.max(1, Math.round((canvas.width * height) / width));
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    return canvas;
  };
  const ofPicture = async (url) => {
    const picture = new Image();
    picture.src = url;
    await picture.decode();
    return drawn(picture, picture.naturalWidth, picture.naturalHeight);
  };
  const ofFilm = async (row) => {
    const address = await finecut.filmOf(row);
    return new Promise((done, failed) => {
      const film = document.createElement("video");
      const over = (act) => {
        clearTimeout(clock);
        act();
        film.removeAttribute("src");
        film.load();
      };
      const clock = setTimeout(() => over(() => failed(new Error("late"))), PATIENCE);
      film.muted = true;
      film.preload = "auto";
      film.onloadeddata = () => over(() => done(drawn(film, film.videoWidth, film.videoHeight)));
      film.onerror = () => film.hasAttribute("src") && over(() => failed(new Error("no film")));
      film.src = address;
    });
  };
  // Sprites are as large as a screen: few are kept.
  const SPRITES = 12;
  const ACROSS = 10;
  const sprites = new Map();
  const sprite = (name) => {
    const known = sprites.get(name);
    sprites.delete(name);
    const picture = new Image();
    const asked = known || ((picture.src = `pictures/${name}`), picture.decode().then(() => picture));
    sprites.set(name, asked);
    if (sprites.size > SPRITES) sprites.delete(sprites.keys().next().value);
    return asked;
  };
  /** From the sprite, as it was drawn there: its place is as wide as all, and it lies in the middle. */
  const ofSprite = async (row) => {
    const lies = facts.pictures ? await finecut.spriteOf(row) : null;
    if (!lies) return null;
    const whole = await sprite(lies.name);
    const wide = facts.pictures;
    const high = Math.floor((wide * 9) / 16);
    const scale = Math.min(wide / clips.width[row], high / clips.height[row]);
    const known = Number.isFinite(scale) && clips.width[row] && clips.height[row];
    const width = known ? Math.max(1, Math.floor(clips.width[row] * scale + 0.5)) : wide;
    const height = known ? Math.max(1, Math.floor(clips.height[row] * scale + 0.5)) : high;
    const left = (lies.place % ACROSS) * wide + Math.floor((wide - width) / 2);
    const top = Math.floor(lies.place / ACROSS) * high + Math.floor((high - height) / 2);
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").drawImage(whole, left, top, width, height, 0, 0, width, height);
    return canvas;
  };
  const painted = async (row) => {
    try {
      const drawn = await ofSprite(row);
      if (drawn) return drawn;
    } catch {
      // The sprite is not there: none of its clips could be seen, or only the page was copied.
    }
    if (facts.thumbnails && finecut.kept(row)) {
      try {
        return await ofPicture(finecut.thumbnailUrl(row));
      } catch {
        // A run without thumbnails made this clip.
      }
    }
    if (finecut.hasPreview(row)) {
      try {
        return await ofPicture(await finecut.previewOf(row));
      } catch {
        clips.first[row] = -1; // planned and not there: the film is asked from now on
      }
    }
    return ofFilm(row).catch(() => null);
  };
  const shown = (place, canvas) => {
    place.classList.add("ready");
    if (canvas) place.prepend(canvas);
    else place.classList.add("empty");
  };
  const remembered = (row, canvas) => {
    posters.set(row, canvas);
    if (posters.size > REMEMBERED) posters.delete(posters.keys().next().value);
  };
  const next = async () => {
    while (working < AT_ONCE && queue.length) {
      const { row, place } = queue.shift();
      if (!place.isConnected) continue;
      working += 1;
      painted(row).then((canvas) => {
        working -= 1;
        if (canvas) remembered(row, canvas);
        if (place.isConnected) shown(place, canvas);
        next();
      });
    }
  };
  /** Put the poster of a clip into a place, now or when it is painted. */
  finecut.poster = (row, place) => {
    const known = posters.get(row);
    if (known && !known.isConnected) {
      posters.delete(row);
      remembered(row, known);
      shown(place, known);
      return;
    }
    queue.push({ row, place });
    // Asked for a moment later: what is scrolled past is gone by then.
    setTimeout(next, 40);
  };

  /** Give it its address, now or when that is known; what has gone meanwhile needs none. */
  const given = async (element, asked) => {
    try {
      const address = await asked;
      if (element.isConnected) element.src = address;
    } catch {
      element.dispatchEvent(new Event("error"));
    }
  };
  finecut.given = given;
  /** Play under the pointer: the preview, or the film without its sound. */
  finecut.play = (row, place) => {
    if (!finecut.isInReach || finecut.isStill() || place.querySelector(".playing")) return;
    if (finecut.hasPreview(row)) {
      const moving = h("img", { class: "playing", alt: "" });
      moving.onerror = () => {
        clips.first[row] = -1; // planned and not there: the film is asked from now on
        if (!moving.isConnected) return;
        moving.remove();
        finecut.play(row, place);
      };
      place.append(moving);
      given(moving, finecut.previewOf(row));
      return;
    }
    const film = h("video", { class: "playing", loop: true, tabindex: "-1" });
    film.muted = true;
    film.playsInline = true;
    film.setAttribute("aria-hidden", "true");
    place.append(film);
    given(film, finecut.filmOf(row)).then(() => film.play()).catch(() => film.remove());
  };
  finecut.stop = (place) => {
    for (const playing of place.querySelectorAll(".playing")) {
      if (playing.tagName === "VIDEO") playing.removeAttribute("src");
      playing.remove();
    }
  };

  /** A small picture of a clip that opens it. */
  finecut.thumb = (row, label) => {
    const place = h("span", { class: "picture" });
    const button = h(
      "button",
      {
        type: "button",
        class: finecut.kept(row) ? "thumb" : "thumb rejected",
        "aria-label": `${label}, ${finecut.described(row)}`,
        onclick: () => finecut.open(row),
        onpointerenter: () => finecut.play(row, place),
        onpointerleave: () => finecut.stop(place),
      },
      place,
      h("span", { class: "under", text: label }),
    );
    // It is in no document yet, and posters are painted only for what is.
    requestAnimationFrame(() => finecut.poster(row, place));
    return button;
  };
  /** A clip in one sentence, for those who listen. */
  finecut.described = (row) =>
    `${finecut.fileName(row)}, ${finecut.clock(clips.start[row])} to ${finecut.clock(clips.end[row])}, ` +
    (finecut.kept(row) ? "kept" : `rejected by ${finecut.reason(row)}`) +
    (clips.marked[row] ? ", marked" : "");
})();
