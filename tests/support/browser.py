"""A browser that plays clips: what it shows at given moments, and that it comes to the end."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHROMIUM = shutil.which("chromium")
#: Seconds until it has to have seen all of them.
PATIENCE = 120

PAGE = """<!doctype html><video id=v muted preload=auto></video><script>
const v = document.getElementById('v');
const event = name => new Promise((done, failed) => {
  v['on' + name] = done;
  v.onerror = () => failed(v.error.message);
});
async function watch(film) {
  const whole = await (await fetch('/' + film.name)).blob();
  v.src = URL.createObjectURL(whole);
  await event('loadeddata');
  const [width, height] = [v.videoWidth, v.videoHeight];
  const canvas = new OffscreenCanvas(width, height);
  const g = canvas.getContext('2d', {willReadFrequently: true});
  const seen = [];
  for (const time of film.times) {
    const there = event('seeked');
    v.currentTime = time;
    await there;
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    g.drawImage(v, 0, 0);
    const rgba = g.getImageData(0, 0, width, height).data;
    let text = '';
    for (let i = 1; i < rgba.length; i += 4) text += String.fromCharCode(rgba[i]);
    seen.push(btoa(text));
  }
  const back = event('seeked');
  v.currentTime = 0;
  await back;
  const over = event('ended');
  v.playbackRate = 4;
  await v.play();
  await over;
  return {name: film.name, width, height, seen};
}
(async () => {
  const all = [];
  for (const film of FILMS) {
    all.push(await watch(film).catch(e => ({name: film.name, error: String(e)})));
  }
  fetch('/said', {method: 'POST', body: JSON.stringify(all)});
})();
</script>"""

Grey = NDArray[np.uint8]


def frames_seen(
    films: Mapping[str, tuple[Path, Sequence[float]]], folder: Path
) -> dict[str, list[Grey]]:
    """Of each film, by its name, the (green) pictures it shows at these seconds."""
    said: list[Any] = []
    told = threading.Event()
    wanted = json.dumps(
        [{"name": name, "times": list(times)} for name, (_, times) in films.items()]
    )

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            film = films.get(self.path[1:])
            body = PAGE.replace("FILMS", wanted).encode() if film is None else film[0].read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if film is None else "video/mp4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            said.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            told.set()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
        flags.append("--autoplay-policy=no-user-gesture-required")
        page = f"http://127.0.0.1:{server.server_port}/"
        with subprocess.Popen(
            [str(CHROMIUM), *flags, page], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as browser:
            told.wait(PATIENCE)
            browser.terminate()
        server.shutdown()
    errors = [each for each in said if "error" in each]
    assert said, "the browser said nothing"
    assert not errors, errors
    return {each["name"]: [_grey(each, text) for text in each["seen"]] for each in said}


def _grey(film: Mapping[str, Any], text: str) -> Grey:
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    picture: Grey = data.reshape(film["height"], film["width"])
    return picture
