"""``run()`` in a program of somebody else: a notebook, a script, a server.

Each host is a process of its own, which says what it saw.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults import differences, tree

from finecut.io.media.testfilm.paint import paint

BEGIN = """
import atexit, gc, os, signal, sys, threading, time
gc.disable()  # nothing that is imported is garbage
from pathlib import Path
from finecut.io.process import children as child
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
gc.enable()

films, root = sys.argv[1:]

def made(name, folder="short", **more):
    options = Options(input=(f"{films}/{folder}",), output=f"{root}/{name}", clip_length=1.0,
                      min_clip_length=1.0, no_report=True, workers=1,
                      no_generate_embeddings=True, **more)
    return run(options).summary

def clips(name):
    return len(list(Path(root, name, "clips").iterdir()))

# Who is started in the background of a shell is told to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
atexit.register(lambda: print("at exit", flush=True))
"""

INTERRUPTED = """
print("begun", flush=True)
began = None
try:
    made("long", "long", preset="placebo", **MORE)
except KeyboardInterrupt:
    print("interrupted", flush=True)
finally:
    print("finally", flush=True)
left = [path.name for path in Path(root, "long", ".staging").glob("*")]
print("staged", left, "torn", list(Path(root, "long").rglob("*.part")), flush=True)
mine = [t for t in threading.enumerate() if t.name == "finecut-run"]
for thread in mine: thread.join(2)
print("threads", [thread.is_alive() for thread in mine if thread.is_alive()], flush=True)
print("handlers", before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)))
print("again", made("again").videos_done, clips("again"), flush=True)
"""

THREADS = """
done = {}
both = [threading.Thread(target=lambda n=n: done.update({n: made(n)})) for n in ("one", "two")]
for thread in both: thread.start()
for thread in both: thread.join()
print("threads", [done[n].videos_done for n in ("one", "two")], clips("one"), clips("two"))
"""

TWICE_AND_FORKED = """
print("first", made("first").videos_done, flush=True)
print("second", made("second").videos_done, flush=True)
copy = os.fork()
if not copy:
    print("copy", made("copy").videos_done, flush=True)
    os._exit(0)
print("copied", os.waitpid(copy, 0)[1], flush=True)
print("third", made("third").videos_done, flush=True)
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name in ("long", "short"):
        (folder / name).mkdir()
    paint(folder / "long/a.mp4", width=320, height=180, rate=15, seconds=25)
    paint(folder / "short/a.mp4", width=64, height=36, rate=10, seconds=2)
    return folder


def host(program: str, films: Path, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + program, str(films), str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_a_file_in(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not folder.is_dir() or not any(folder.iterdir()):
        assert process.poll() is None, "ended before the first file appeared"
        assert time.monotonic() < deadline, "no file appeared"
        time.sleep(0.02)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("{}", id="children", marks=pytest.mark.slow),
        pytest.param("dict(no_isolation=True)", id="in_process", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_host_goes_on(more: str, films: Path, tmp_path: Path) -> None:
    """Ctrl-C is an exception to it, after all is cleaned up; what comes after works as ever."""
    with host(INTERRUPTED.replace("MORE", more), films, tmp_path) as process:
        try:
            wait_for_a_file_in(tmp_path / "long/clips", process)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert "Traceback" not in err
    assert "finecut: stopped" not in err
    said = out.splitlines()
    assert said[:4] == ["begun", "interrupted", "finally", "staged [] torn []"]
    if more == "{}":  # a decoder in this very process is not waited for
        assert said[4] == "threads []"
    assert said[5:] == ["handlers True", "again 1 2", "at exit"]
    assert process.returncode == 0


@pytest.mark.slow
def test_two_runs_of_two_threads_work_side_by_side(films: Path, tmp_path: Path) -> None:
    with host(THREADS, films, tmp_path) as process:
        out, err = process.communicate(timeout=120)
    assert out.splitlines() == ["threads [1, 1] 2 2", "at exit"], err
    assert differences(tree(tmp_path / "one"), tree(tmp_path / "two")) == []


def test_a_run_after_a_run_and_one_in_a_copy_of_the_process_work(
    films: Path, tmp_path: Path
) -> None:
    with host(TWICE_AND_FORKED, films, tmp_path) as process:
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    said = ["first 1", "second 1", "copy 1", "copied 0", "third 1", "at exit"]
    assert out.splitlines() == said, err
    for name in ("second", "copy", "third"):
        assert differences(tree(tmp_path / "first"), tree(tmp_path / name)) == []
