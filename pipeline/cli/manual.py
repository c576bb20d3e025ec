"""What each command says of itself: a sentence, some more, and examples to copy."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

ENDS = """\
exit codes:
  0    done, also where some inputs failed: they are listed
  1    it could not be done, or made nothing, or something checked does not hold
  2    the command line is wrong; nothing was touched
  3    the books do not balance (this would be a mistake in finecut)
  130  stopped by Ctrl-C; 143 by SIGTERM. Nothing is torn: run the same command again"""

WIDTH = 92


class Page(NamedTuple):
    """The page of one command."""

    sentence: str
    more: str = ""
    #: What they do, and how they are written.
    examples: tuple[tuple[str, str], ...] = ()
    #: How it is written, behind its name.
    usage: str = "DATASET [options]"

    @property
    def description(self) -> str:
        paragraphs = [self.sentence, *self.more.split("\n\n")] if self.more else [self.sentence]
        return "\n\n".join(textwrap.fill(" ".join(p.split()), WIDTH) for p in paragraphs)

    @property
    def epilog(self) -> str:
        shown = [f"  # {what}\n  {command}" for what, command in self.examples]
        return "\n\n".join((["examples:\n" + "\n\n".join(shown)] if shown else []) + [ENDS])


PAGES: dict[str, Page] = {
    "curate": Page(
        "Turn a folder of videos into a training-ready set of clips.",
        """Finds the videos below --input, cuts each into clips, measures them, filters them by
        rules, embeds and captions them, and writes everything below --output: clips/,
        filtered_clips/, metas/, previews/, vectors, and a document for each finished video.

        What an earlier run finished is skipped, so the same command after an accident does what is
        left. A video that fails is listed under failures/ and costs only itself.""",
        (
            (
                "everything below films/, ten seconds a clip",
                "finecut curate --input films --output dataset",
            ),
            (
                "at scene changes, only what moves and is sharp, with previews",
                "finecut curate --input films --output dataset --splitting-algorithm content \\\n"
                "      --motion-filter enable --quality-filter enable --generate-previews",
            ),
            (
                "in buckets, on Dataflow",
                "finecut curate --input gs://bucket/films --output gs://bucket/dataset \\\n"
                "      --runner DataflowRunner --project P --region R --temp_location gs://bucket/tmp",
            ),
            (
                "again, only what failed",
                "finecut curate --input dataset/failures/LIST.jsonl --output dataset",
            ),
        ),
        usage="--input PATH [PATH …] --output PATH [options]",
    ),
    "dedup": Page(
        "Find clips that show the same, by their vectors and pictures, and list those to leave "
        "out.",
        """Clusters the vectors of DATASET, compares those that are near, and writes who is whose
        duplicate below DATASET/dedup/. Nothing of DATASET is changed or deleted: curate, refilter
        and shard take the list with --drop. What was compared is kept, so that another --eps or
        --which-to-keep takes seconds.""",
        (
            ("find them", "finecut dedup dataset"),
            ("more strictly, of what was compared already", "finecut dedup dataset --eps 0.1"),
        ),
    ),
    "shard": Page(
        "Write what was curated as WebDataset shards with an index, ready to be trained on.",
        """Each clip is a key of a tar: its mp4, its document (json), its caption (txt) and its
        vector (npy). Clips of all videos are mixed, always in the same order. index.parquet says
        where each lies; the folder is a Hugging Face dataset as it stands. A run that was killed
        goes on where it was.""",
        (
            ("everything that was kept", "finecut shard dataset --output shards"),
            (
                "the better half, without duplicates, by shape and length",
                "finecut shard dataset --output shards --drop dataset/dedup \\\n"
                "      --keep 'sharpness>=0.2' --bin-by resolution aspect duration",
            ),
        ),
    ),
    "refilter": Page(
        "Change rules and thresholds of what was curated, without decoding or models.",
        """Prints what each rule would reject, in clips and seconds, and then moves clips between
        clips/ and filtered_clips/ and rewrites all that speaks of them, as if curate had been told
        so from the start. What is not given stays as it was. Videos with clips that only curate can
        judge (a score was never measured, a vector is missing) are left alone and listed.""",
        (
            ("what would happen", "finecut refilter dataset --keep 'sharpness>=0.3' --dry-run"),
            ("without duplicates", "finecut refilter dataset --drop dataset/dedup"),
        ),
    ),
    "verify": Page(
        "Read everything again that was curated, and say what is wrong and where.",
        """Every document, clip, vector, preview and shard: whether it can be read, whether it is
        what others say of it, and whether the books balance. Nothing is changed. Ends with 1 if
        something is wrong.""",
        (
            ("everything, also each picture of each clip", "finecut verify dataset"),
            (
                "without decoding, with shards, all findings to a file",
                "finecut verify dataset --quick --shards shards --report findings.jsonl",
            ),
        ),
    ),
    "report": Page(
        "Make a page of what was curated, to look at in any browser: clips, sources, scores, "
        "failures.",
        """Writes DATASET/report/index.html, which needs no server and no network. curate makes it
        at its end, too; this makes it again after something was changed.""",
        (
            ("of this dataset", "finecut report dataset"),
            ("without looking for neighbours", "finecut report dataset --neighbours 0"),
        ),
    ),
    "describe": Page(
        "Print the pipeline that curate would run: steps, what flows between them, resources.",
        "Takes the options of curate. Nothing is read but the lists and models they name.",
        (
            (
                "what would be done",
                "finecut describe --input films --output dataset --generate-captions",
            ),
        ),
        usage="--input PATH --output PATH [options]",
    ),
    "launch": Page(
        "Hand the job of curate over to a cluster and do not wait for its end.",
        "Takes the options of curate; needs --runner and the runner's own options.",
        (
            (
                "on Dataflow",
                "finecut launch --input gs://bucket/films --output gs://bucket/dataset \\\n"
                "      --runner DataflowRunner --project P --region R --temp_location gs://bucket/tmp",
            ),
        ),
        usage="--input PATH --output PATH --runner NAME [options]",
    ),
    "doctor": Page(
        "Find out by trying whether this machine can do what the options of curate ask: codecs, "
        "models, output.",
        "Takes the options of curate and needs no input. Ends with 1 if something does not work.",
        (("before a long run", "finecut doctor --output dataset --generate-captions"),),
        usage="[options of curate]",
    ),
    "demo": Page(
        "Paint three short films, curate them, and say where to look.",
        examples=(("in the folder demo/", "finecut demo"),),
        usage="[--folder FOLDER]",
    ),
    "completion": Page(
        "Print what makes a shell complete commands, flags and their values.",
        examples=(
            (
                "bash, for you",
                "finecut completion bash > ~/.local/share/bash-completion/completions/finecut",
            ),
            ("zsh, for you", "finecut completion zsh > ~/.zfunc/_finecut"),
        ),
        usage="bash|zsh|fish|tcsh|powershell",
    ),
}
