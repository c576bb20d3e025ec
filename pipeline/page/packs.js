/* Films and previews that lie in archives: the page asks for their bytes, and makes files of them. From a disk no page may
   read a part of a file, so there only pictures are shown, and how to see the rest. */
(() => {
  const { facts } = finecut;
  const REMEMBERED = 16;
  const made = new Map();

  /** Whether films can be shown: from a disk, those in archives cannot. */
  finecut.isInReach = !facts.packed || window.location.protocol !== "file:";

  /** A server that knows no ranges sends all of an archive: what is not wanted of it is not kept. */
  const cutOut = async (body, offset, size) => {
    const reader = body.getReader();
    const parts = [];
    let at = 0;
    while (at < offset + size) {
      const { done, value } = await reader.read();
      if (done) break;
      const [from, to] = [Math.max(0, offset - at), Math.min(value.length, offset + size - at)];
      if (from < to) parts.push(value.slice(from, to));
      at += value.length;
    }
    await reader.cancel();
    return new Blob(parts);
  };
  const fetched = async (path, offset, size) => {
    const range = `bytes=${offset}-${offset + size - 1}`;
    const answer = await fetch(`${facts.links}/${path}`, { headers: { Range: range } });
    if (!answer.ok) throw new Error(`${path} is not there`);
    return answer.status === 206 ? answer.blob() : cutOut(answer.body, offset, size);
  };
  /** The address of a part of an archive; the same one for all who ask for it. */
  const part = (path, offset, size, type) => {
    const key = `${path} ${offset}`;
    const known = made.get(key);
    made.delete(key);
    const asked = known || fetched(path, offset, size).then((blob) => URL.createObjectURL(blob.slice(0, blob.size, type)));
    made.set(key, asked);
    if (made.size > REMEMBERED) {
      const [oldest, address] = made.entries().next().value;
      made.delete(oldest);
      address.then(URL.revokeObjectURL, () => {});
    }
    return asked;
  };
  const place = async (row) => {
    if (!finecut.isInReach) throw new Error("a page on a disk reads no archives");
    const lies = (await finecut.text(row)).lies;
    if (!lies) throw new Error("nobody says where it lies");
    return lies;
  };
  /** Addresses of a clip and of its preview, wherever they lie. */
  finecut.filmOf = async (row) => {
    if (!facts.packed) return finecut.url(row);
    const { path, film } = await place(row);
    return part(path, ...film, "video/mp4");
  };
  finecut.previewOf = async (row) => {
    if (!facts.packed) return finecut.previewUrl(row);
    const { path, preview } = await place(row);
    if (!preview) throw new Error("it has no preview");
    return part(path, ...preview, "image/webp");
  };
})();
