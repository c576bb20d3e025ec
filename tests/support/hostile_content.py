"""Files made to hurt whose content is the trouble: scripts, tracks, clocks, colours, sizes."""

from __future__ import annotations

import struct

from container_bytes import STBL, edit_list, edited, patched, put
from hostile_making import (
    Case,
    attached,
    avi_that_stands_still,
    avi_with_gaps,
    channels,
    coloured,
    cover,
    data,
    external,
    large_jpegs,
    long_header,
    long_matroska,
    many_tracks,
    muxed,
    no_rate_avi,
    no_rate_matroska,
    png_film,
    promised_frames,
    sound_only,
    stands_still,
    text,
    uneven_matroska,
    with_subtitles,
    wraps,
)

NO_CONTAINER = "could not be opened as a video container"
NO_FRAME = "not one frame of the video track could be decoded"
TOO_LARGE = "--max-pixels"

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{canary}\n#EXT-X-ENDLIST\n"
MPD = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT3S"><Period><AdaptationSet mimeType="video/mp2t">'
    '<Representation id="1"><BaseURL>file:{canary}</BaseURL></Representation></AdaptationSet>'
    "</Period></MPD>"
)
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"

HOSTILE_CONTENT: tuple[Case, ...] = (
    # Scripts that name other files.
    *(
        Case(f"hls{suffix}", "an HLS playlist", text(HLS), "failed", NO_CONTAINER)
        for suffix in (".mp4", ".mov", ".mkv", ".avi", ".webm")
    ),
    Case(
        "concat.mp4",
        "an ffconcat script",
        text("ffconcat version 1.0\nfile '{canary}'\n"),
        "failed",
        NO_CONTAINER,
    ),
    Case("dash.mp4", "a DASH manifest", text(MPD), "failed", NO_CONTAINER),
    Case("sdp.mov", "a description of a network stream", text(SDP), "failed", NO_CONTAINER),
    Case(
        "shot%03d.mp4", "a video named like a sequence of pictures", data(lambda s: s.mp4), "done"
    ),
    Case("concat:a|b.mp4", "a video named like a protocol", data(lambda s: s.mp4), "done"),
    Case(
        "external.mov",
        "an index that says the pictures are in another file",
        data(external),
        "failed",
        NO_FRAME,
    ),
    # Tracks that are no pictures or sound, and films without a film.
    Case(
        "attached.mkv",
        "a font and a page attached",
        muxed(lambda s: s.mkv, form="matroska", also=attached),
        "done",
    ),
    Case(
        "subtitles.mkv",
        "a track of subtitles",
        muxed(lambda s: s.mkv, form="matroska", also=with_subtitles("ass")),
        "done",
    ),
    Case(
        "timed_text.mp4",
        "a track of timed text",
        muxed(lambda s: s.mp4, form="mp4", also=with_subtitles("mov_text")),
        "done",
    ),
    Case(
        "timecode.mov",
        "a track of time codes",
        data(lambda s: patched(s.mov, b"soun", 0, b"tmcd")),
        "done",
    ),
    Case(
        "cover_first.mp4",
        "a cover image before the video",
        data(lambda s: edited(s.mp4, "moov", cover(True))),
        "done",
    ),
    Case(
        "cover_last.mp4",
        "a cover image after the video",
        data(lambda s: edited(s.mp4, "moov", cover(False))),
        "done",
    ),
    Case(
        "cover_only.mp4",
        "sound and a cover image",
        data(lambda s: edited(sound_only(s), "moov", cover(False))),
        "failed",
        "no video track",
    ),
    Case("sound.mp4", "sound only", data(sound_only), "failed", "no video track"),
    Case(
        "two_films.mp4",
        "two video tracks; the first counts",
        muxed(lambda s: s.mp4, lambda s: s.mp4, form="mp4"),
        "done",
    ),
    Case("pcm.mov", "PCM sound", data(lambda s: s.mov), "done"),
    Case("pcm.mkv", "PCM sound", data(lambda s: s.film("pcm.mkv", sound="pcm_s16le")), "done"),
    Case("pcm.avi", "PCM sound", data(lambda s: s.avi), "done"),
    Case(
        "channels16.mkv",
        "16 channels of sound in unknown places",
        channels("16 channels"),
        "done",
    ),
    Case(
        "channels7.1.mov",
        "eight channels of sound",
        channels("7.1"),
        "done",
    ),
    Case("tracks65.mkv", "65 tracks", many_tracks(65), "failed", "--max-streams"),
    Case("tracks900.mkv", "900 tracks", many_tracks(900), "failed", "--max-streams"),
    # Clocks.
    Case("no_rate.avi", "0 frames a second in both headers", data(no_rate_avi), "done"),
    Case("no_rate.mkv", "no frame rate in the header", data(no_rate_matroska), "done"),
    Case(
        "negative.mp4",
        "times before 0",
        data(lambda s: edited(s.mp4, "moov/trak", edit_list((2000, 15360)))),
        "done",
    ),
    Case(
        "far.mkv",
        "a start after eleven days",
        data(lambda s: s.film("far.mkv", start=1_000_000)),
        "done",
    ),
    Case(
        "edits.mp4",
        "an edit list of 3,000 entries",
        data(lambda s: edited(s.mp4, "moov/trak", edit_list(*[(500, 0), (500, 7680)] * 1500))),
        "done",
    ),
    Case("years.mp4", "pictures of three weeks each", data(long_header), "failed", "--max-seconds"),
    Case(
        "years.mkv",
        "a header that claims a hundred years",
        data(long_matroska),
        "failed",
        "impossible",
    ),
    Case("uneven.mkv", "a rate that its pictures do not keep", uneven_matroska, "done"),
    Case("gaps.avi", "entries that hold no frame", avi_with_gaps, "done"),
    Case("still.avi", "the same at its end", avi_that_stands_still, "marked", "no new frame"),
    Case("still.mp4", "a last picture of three seconds", stands_still, "marked", "no new frame"),
    Case("still.mkv", "a last picture of three seconds", stands_still, "marked", "no new frame"),
    Case("wraps.mp4", "MPEG-TS whose clock begins anew", wraps, "done"),
    # Colours.
    Case("ycgco.mp4", "colours in YCgCo", coloured("YCgCo"), "done"),
    Case(
        "constant_luminance.mp4",
        "colours in BT.2020 with constant luminance",
        coloured("bt2020c"),
        "failed",
        "BT.2020 with constant luminance",
    ),
    Case("ictcp.mp4", "colours in ICtCp", coloured("ICtCp"), "failed", "ICtCp"),
    # Numbers in headers.
    Case(
        "frames.mp4", "an index of a billion frames", data(promised_frames(10**9, 1)), "failed", ""
    ),
    Case(
        "entries.mp4",
        "an index of 2^32 - 1 entries",
        data(lambda s: edited(s.mp4, f"{STBL}/stsz", put(4, struct.pack(">II", 0, 0xFFFFFFFF)))),
        "failed",
        "",
    ),
    Case(
        "chunks.mp4",
        "a table of 2^32 - 1 chunks",
        data(lambda s: edited(s.mp4, f"{STBL}/stco", put(4, b"\xff" * 4))),
        "done",
    ),
    Case(
        "wide.mp4",
        "65535 by 65535 in the header",
        data(lambda s: edited(s.mp4, f"{STBL}/stsd", put(40, b"\xff" * 4))),
        "done",
    ),
    Case(
        "wide.mkv",
        "65535 by 65535 in the header",
        data(
            lambda s: patched(
                patched(s.mkv, b"\xb0\x81\xa0", 0, b"\xb0\x81\xff"),
                b"\xba\x81\x5a",
                0,
                b"\xba\x81\xff",
            )
        ),
        "done",
    ),
    Case(
        "wide.avi",
        "65535 by 65535 in the header",
        data(lambda s: patched(s.avi, b"strf", 12, struct.pack("<II", 65535, 65535))),
        "done",
    ),
    # Bombs.
    Case(
        "bomb.mov",
        "tiny pictures of 16000 by 16000",
        png_film(16000, 16000, 16000),
        "failed",
        TOO_LARGE,
    ),
    Case(
        "hidden.mov",
        "the same, claiming 160 by 160",
        png_film(160, 16000, 16000),
        "failed",
        TOO_LARGE,
    ),
    Case(
        "large.mov",
        "pictures of 4096 by 4096, within the limits",
        png_film(4096, 4096, 4096),
        "done",
    ),
    Case(
        "grows.mov",
        "16000 by 16000 after three seconds of 160 by 160",
        png_film(160, *[160] * 45, *[16000] * 3, rate=15),
        "failed",
        TOO_LARGE,
    ),
    Case(
        "jpegs.avi",
        "JPEGs that claim 16000 by 16000 after two seconds",
        data(large_jpegs),
        "failed",
        "shows no frame",
    ),
)
