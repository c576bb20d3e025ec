"""The front door: help that can be copied from, completion, and a word for whoever mistyped."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from finecut.pipeline.cli.command import description, main, parser_of
from finecut.pipeline.cli.flags import parse_options
from finecut.pipeline.commands.base import all_commands
from finecut.pipeline.commands.completion import SHELLS

EVERY = all_commands()
EXAMPLES = [
    pytest.param(name, command, id=f"{name}: {what}")
    for name, kind in EVERY.items()
    for what, command in kind.page.examples
]


@pytest.mark.parametrize("name", EVERY)
def test_each_command_has_a_page(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: finecut {name} ")
    assert re.fullmatch(r"[A-Z].*\.", EVERY[name].page.sentence)
    assert "exit codes:" in shown
    assert "examples:\n  # " in shown
    assert max(map(len, description(EVERY[name].page).splitlines())) <= 92


@pytest.mark.parametrize(("name", "command"), EXAMPLES)
def test_an_example_can_be_copied(name: str, command: str) -> None:
    words = shlex.split(command.replace("\\\n", " ").split(" > ")[0])
    assert words[:2] == ["finecut", name]
    kind, given = EVERY[name].meant(words[2:])
    parse_options(parser_of(kind), kind.typed(given), kind.Options, kind.whole)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["curat"], "unknown command curat: did you mean curate?"),
        (["xyzzy"], "finecut --help lists all commands"),
        (["curate", "--input", "f", "--output", "o", "--clip-lenght=3"], "did you mean --clip-l"),
        (["completion", "cmd"], "invalid choice: 'cmd'"),
    ],
)
def test_whoever_mistypes_is_told(
    given: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert words in said.err
    assert len(said.err.splitlines()) == 1
    assert not said.out


def completed(script: Path, *words: str) -> set[str]:
    """What bash offers for the last of these words."""
    quoted = " ".join(map(shlex.quote, words))
    asked = f"""
        source {shlex.quote(str(script))}
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMP_LINE={shlex.quote(" ".join(words))}
        {{ read -r shown; }} < <(complete -p finecut)
        function=${{shown#*-F }}; ${{function%% *}}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "finecut.bash"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    assert completed(script, "finecut", "cu") == {"curate"}
    assert completed(script, "finecut", "curate", "--splitting") == {"--splitting-algorithm"}
    assert completed(script, "finecut", "curate", "--encoder", "libx") == {"libx264", "libx265"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_its_words(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    shown = capsys.readouterr().out
    # Some shells name flags without their dashes.
    assert all(name in shown for name in (*EVERY, "splitting-algorithm", "libx264"))
