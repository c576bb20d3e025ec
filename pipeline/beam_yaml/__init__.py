"""finecut in Beam YAML: every step of the house, and the whole of it as one.

A pipeline names the listing of what there is, and then the steps by their names::

    providers:
      - include: {{finecut}}
    pipeline:
      transforms:
        - type: Curate
          config: {input: films, output: dataset, clip_length: 5, keep: ['motion>0.001']}
        - type: MapToFields
          name: Facts
          input: Curate.clips
          config: {fields: {id: id, video: video, start: start, end: end, kept: kept}}
        - type: WriteToJson
          input: Facts
          config: {path: clips.json}

Where the listing lies is printed by ``python -m finecut.pipeline.beam_yaml``::

    python -m apache_beam.yaml.main --runner=FnApiRunner --yaml_pipeline_file=films.yaml
        --jinja_variable_flags=finecut --finecut="$(python -m finecut.pipeline.beam_yaml)"

The config of a step are the options of ``finecut curate``, by their names in Python. Steps that
stand alone are given the same ones, so that each finds what the other left::

    pipeline:
      transforms:
        - type: FindVideos
          config: &films {input: films, output: dataset, motion_filter: score-only}
        - {type: ProbeVideos, input: FindVideos, config: *films}
        - {type: SplitVideos, input: ProbeVideos.videos, config: *films}
        - {type: CutClips, input: SplitVideos.reels, config: *films}
        - type: Filter
          input: CutClips.clips
          config: {language: python, keep: "start < 60 and scores['motion_global_mean'] > 0.001"}
        - {type: WriteClips, input: Filter, config: *films}
        - type: ListFailures
          input: [ProbeVideos.failures, SplitVideos.failures, CutClips.failures,
                  WriteClips.failures]
          config: *films
        - {type: TidyUp, input: {videos: WriteClips.videos, list: ListFailures}, config: *films}

What flows between steps are rows (:mod:`rows`). A clip that a ``Filter`` dropped is nowhere, and
its video is not called finished, unless all of its clips were dropped: then it is closed as one
that has none; one that ``KeepClips`` rejected lies in ``filtered_clips/``. What
single steps wrote, ``finecut curate`` does again, since options do not tell which steps there were.

Failures are an output of each step that has any. With ``error_handling: {output: NAME}`` they are
called so; the other output then needs no name, and Beam sees to it that failures are used.
"""

from importlib.resources import files


def listing() -> str:
    """The path of the list of steps, for ``providers: [{include: …}]``."""
    return str(files(__name__).joinpath("finecut.yaml"))
