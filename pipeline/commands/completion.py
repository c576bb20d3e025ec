"""``finecut completion``: what makes a shell complete commands, flags and their values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from finecut.pipeline.commands.base import Command, CommandOptions, Page
from finecut.transforms.option import option

SHELLS: Final = ("bash", "zsh", "fish", "tcsh", "powershell")
#: Values that are files or folders.
PATHS: Final = ("PATH", "FILE", "FOLDER", "LIST", "DATASET", "ROOT")


@dataclass(frozen=True)
class CompletionOptions(CommandOptions):
    shell: str = option(
        "bash", "shell", "The shell to print the script for.", choices=SHELLS, positional=True
    )


class Completion(Command[CompletionOptions, str]):
    name = "completion"
    page = Page(
        "Print a script that lets a shell complete commands, flags and their values.",
        examples=(
            (
                "bash, current user",
                "finecut completion bash > ~/.local/share/bash-completion/completions/finecut",
            ),
            ("zsh, current user", "finecut completion zsh > ~/.zfunc/_finecut"),
        ),
        usage="|".join(SHELLS),
    )
    Options = CompletionOptions
    answers = True

    def work(self) -> str:
        import shtab

        from finecut.pipeline.cli.command import parsers

        parser, commands = parsers()
        for command in commands.values():
            for action in command._actions:
                if action.metavar in PATHS:
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
        return str(shtab.complete(parser, self.options.shell))

    def answer(self, result: str) -> Iterator[str]:
        yield result
