"""Lists of failures in a stream: one for each video, since nobody ever knows the last of them.

    failures/<of the name>.jsonl    all that went wrong in the last attempt, when it has ended

A list is named by its video: what fails again replaces what was said before, and a video that is
closed after all has none. So a list, or the document of the video, tells that an attempt has come
to its end (:mod:`finecut.transforms.resume.one_at_a_time`).
"""

import hashlib

import apache_beam as beam

from finecut.io.layout import Layout
from finecut.io.records import CODING, Failure, Lost, Source, to_json
from finecut.transforms.beam.lines import as_lines
from finecut.transforms.write.secrets import told
from finecut.transforms.write.writing import WritingTransform


def own_list(source: Source, layout: Layout) -> str:
    """Where a stream lists what went wrong with this video."""
    key = hashlib.sha256(source.name.encode(*CODING)).hexdigest()[:16]
    return layout.failure_list(key)


class ListFailures(WritingTransform[beam.PCollection[Failure | Lost], beam.PCollection[int]]):
    """The failures of a video that has come to its end → their list."""

    def expand(self, failures: beam.PCollection[Failure | Lost]) -> beam.PCollection[int]:
        own, layout = self.writing.shelf, self.writing.layout

        def write(ended: Failure | Lost) -> int:
            source = ended.video.source if isinstance(ended, Lost) else ended.source
            return own.write(own_list(source, layout), lines_of(ended))

        return failures | "Write list" >> beam.Map(write).with_output_types(int)


def lines_of(ended: Failure | Lost) -> bytes:
    """The content of such a list."""
    several = ended.failures if isinstance(ended, Lost) else (ended,)
    return as_lines({to_json(told(failure)) for failure in several})
