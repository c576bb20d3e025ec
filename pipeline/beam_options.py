"""The options as Beam's own, so that a pipeline carries them and a job's page shows them::

    pipeline_options = PipelineOptions(["--input", "gs://b/films", "--output", "gs://b/clips"])
    options = pipeline_options.view_as(FinecutOptions).options()

Beam puts the options of all such classes into one command line, so this module is only imported
where it is used: beside a class of one's own that has an ``--input``, too, Beam refuses both.
"""

import argparse
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from finecut.pipeline.cli.flags import add_flags, flag_of, is_many, is_switch
from finecut.pipeline.options import Options, default_of, option_fields

#: Beam has these already. Its runner is ours; its dry run is another one, so that ours is not
#: carried: write it into the :class:`Options`.
RUNNER = "runner"
BEAMS = (RUNNER, "dry_run")


class FinecutOptions(PipelineOptions):
    """Every option under its own name, but for those of Beam."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, without=BEAMS)

    def options(self) -> Options:
        """What was given, checked."""
        given = {f.name: getattr(self, f.name) for f in option_fields() if f.name not in BEAMS}
        given |= {f.name: tuple(given[f.name] or ()) for f in option_fields() if is_many(f)}
        if runner := self.get_all_options().get(RUNNER):
            given[RUNNER] = runner
        return Options(**given).check()


def words_of(options: Options) -> list[str]:
    """The command line that gives these options, without those that are as they are anyway."""
    words: list[str] = []
    for f in option_fields():
        value: Any = getattr(options, f.name)
        if f.name in BEAMS or value == default_of(f):
            continue
        if is_switch(f):
            words.append(flag_of(f))
        elif is_many(f):
            words += [flag_of(f), *value]
        else:
            words.append(f"{flag_of(f)}={value}")
    return words
