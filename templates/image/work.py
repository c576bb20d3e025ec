"""Put a built image to work: its workers do a job on Prism, and its launcher starts one.

    films ─▶ finecut here, on the local runner        ─▶ local/   ┐
          ─▶ finecut here ─▶ Prism ─▶ pool of the image ─▶ image/  ├─ the same tree
          ─▶ launcher of the image ─▶ Prism ─▶ the pool ─▶ launched/ ┘

The pool and the launcher are started as the image says: its entry point, user, folder, environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from faults import differences, tree  # tests/support

from finecut.io.media.testfilm.paint import demo_films
from finecut.pipeline.engines import prism
from image.tools import (
    ISOLATION,
    TAG,
    NotHere,
    configuration,
    container,
    has_image,
    main_of,
    shown,
)

#: Options of the job: every kind of file is written.
OPTIONS = (
    *("--splitting-algorithm", "content", "--min-clip-length", "1"),
    *("--motion-filter", "enable", "--generate-previews", "--preview-target-fps", "4"),
)
POOL_PORT = 50000
LAUNCHER = "/opt/google/dataflow/python_template_launcher"
#: Seconds in which a pool of workers has to answer.
TO_START = 60.0


def entry(image: str) -> tuple[list[str], str]:
    """How the image starts, and who it is then."""
    own = configuration(image)["OCIv1"]["config"]
    return own["Entrypoint"], own["User"]


@contextmanager
def started(image: str, shared: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the image, with a folder that means the same inside and outside."""
    with container(image) as name:
        bound = ["--volume", f"{shared}:{shared}"]
        command = ["buildah", "run", *ISOLATION, *bound, name, "--", *words]
        print("+", *command, flush=True)
        process = subprocess.Popen(command, start_new_session=True)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(port: int) -> bool:
    with socket.socket() as door:
        return not door.connect_ex(("localhost", port))


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + TO_START
    while not answers(port):
        if process.poll() is not None:
            raise NotHere(f"the image's process ended with {process.returncode}")
        if time.monotonic() > until:
            raise NotHere(f"nothing listens on port {port} after {TO_START:g} s")
        time.sleep(0.2)


def finecut(*words: str) -> None:
    shown([str(Path(sys.executable).with_name("finecut")), *words])


def same(first: Path, second: Path) -> None:
    """The two datasets hold the same, as the tests compare them."""
    local, other = tree(first), tree(second)
    if wrong := differences(local, other) if local else ["nothing was written"]:
        raise NotHere(f"{second} is not what the local runner wrote: {wrong[:10]}")
    print(f"image: {len(other)} files in {second}, all as the local runner wrote them")


def work(image: str) -> None:
    if not has_image(image):
        raise NotHere(f"no image {image}: make image builds it")
    entry_point, user = entry(image)
    shared = Path(tempfile.mkdtemp(prefix="finecut-image-"))
    try:
        # The image's user writes there, and this one.
        shared.chmod(0o777)
        list(demo_films(_made(shared / "films")))
        finecut("curate", "--input", f"{shared}/films", "--output", f"{shared}/local", *OPTIONS)
        with started(image, shared, *entry_point, "--worker_pool") as pool:
            wait_for(POOL_PORT, pool)
            _by_the_pool(shared)
            _by_the_launcher(image, shared)
        for made in ("image", "launched"):
            same(shared / "local", shared / made)
        owners = {path.stat().st_uid for path in (shared / "image/clips").iterdir()}
        if owners != {int(user)}:
            raise NotHere(f"the clips belong to {owners}, and not to the image's user {user}")
    finally:
        shutil.rmtree(shared)


ON_THE_POOL = ("--environment_type=EXTERNAL", f"--environment_config=localhost:{POOL_PORT}")


def _made(folder: Path) -> Path:
    """A folder in which the image's user may write."""
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def _by_the_pool(shared: Path) -> None:
    output = _made(shared / "image")
    old = os.umask(0)  # what this process makes there is for the workers, too
    try:
        finecut(
            *("curate", "--input", f"{shared}/films", "--output", str(output), *OPTIONS),
            *("--runner", "prism", *ON_THE_POOL),
        )
    finally:
        os.umask(old)


def _by_the_launcher(image: str, shared: Path) -> None:
    """The template's parameters as flags, as Google's launcher gives them."""
    output = _made(shared / "launched")
    parameters = as_parameters(OPTIONS)
    with prism.at_work([]) as engine:
        endpoint = next(word for word in engine.arguments if word.startswith("--job_endpoint"))
        words = [
            *(LAUNCHER, f"--input={shared}/films", f"--output={output}", *parameters),
            *("--runner=PortableRunner", endpoint, *ON_THE_POOL),
        ]
        with started(image, shared, *words) as launcher:
            if code := launcher.wait():
                raise NotHere(f"the launcher ended with {code}")
            _wait_for_summary(output)


def _wait_for_summary(output: Path) -> None:
    """The launcher hands the job over and goes; the job writes its summary last."""
    until = time.monotonic() + 10 * TO_START
    while not list(output.glob("runs/*/summary.json")):
        if time.monotonic() > until:
            raise NotHere("the launched job wrote no summary")
        time.sleep(0.5)


def as_parameters(options: Sequence[str]) -> Iterator[str]:
    """Flags as the launcher writes them.

    >>> list(as_parameters(["--a-b", "c-d", "--flag", "--e", "2"]))
    ['--a_b=c-d', '--flag=true', '--e=2']
    """
    for at, word in enumerate(options):
        if word.startswith("--"):
            value = next(iter(options[at + 1 : at + 2]), "--")
            name = word.removeprefix("--").replace("-", "_")
            yield f"--{name}={'true' if value.startswith('--') else value}"


if __name__ == "__main__":
    main_of(lambda: work(TAG))
