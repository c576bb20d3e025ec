"""Windows: the stretches of a clip that are captioned and previewed, and the frames looked at.

    frames   0────────────256────────────512──────────640      size 256, remainder 128
    windows  [─────0──────)[─────1───────)[────2──────)        128 left over: a window of its own
    frames   0────────────256──────────────────600
    windows  [─────0──────)[─────1─────────────)               88 left over: the last one takes them

Numbers are those of the reference. ``end_frame`` is the last frame, not the one after it.
"""

from dataclasses import dataclass

from finecut.io.records import Window

#: A clip shorter than this shows nothing that could be described.
LEAST_FRAMES = 4
#: More frames of one window than this no captioner takes.
MOST_SAMPLES = 768


@dataclass(frozen=True)
class Windowing:
    """How long windows are, in frames, and when a remainder is one of its own."""

    size: int = 256
    remainder: int = 128


def windows_of(num_frames: int, windowing: Windowing) -> tuple[Window, ...]:
    """The windows of a clip of so many frames.

    >>> [(w.start_frame, w.end_frame) for w in windows_of(640, Windowing(256, 128))]
    [(0, 255), (256, 511), (512, 639)]
    """
    size = windowing.size
    if num_frames < LEAST_FRAMES:
        return ()
    if num_frames <= size:
        return (Window(0, num_frames - 1),)
    full, rest = divmod(num_frames, size)
    windows = [Window(i * size, i * size + size - 1) for i in range(full)]
    if rest >= windowing.remainder:
        windows.append(Window(num_frames - rest, num_frames - 1))
    elif rest:
        windows[-1] = Window(windows[-1].start_frame, num_frames - 1)
    return tuple(windows)


def sampled_in_window(window: Window, framerate: float, rate: float) -> list[int]:
    """The frames of a window that a captioner looks at: an even number, spread evenly.

    >>> sampled_in_window(Window(0, 255), 30.0, 2.0)[:4]
    [0, 15, 30, 45]
    """
    total = window.end_frame - window.start_frame + 1
    if total < 2:
        # One frame, shown twice: captioners take even numbers.
        return [window.start_frame, window.start_frame]
    most = min(MOST_SAMPLES, total) // 2 * 2
    wanted = min(max(total / framerate * rate, LEAST_FRAMES), most)
    count = round(wanted / 2) * 2
    step = (window.end_frame - window.start_frame) / (count - 1)
    return [round(window.start_frame + step * i) for i in range(count)]
