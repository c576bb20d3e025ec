"""What is looked for in a built image, in root file systems that are made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from image.examine import layers, rights_in, secrets_in, strays_in
from image.work import OPTIONS, as_parameters

PACKAGES = "usr/local/lib/python3.11/site-packages"
KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "A" * 64 + "\n"


def config(**own: Any) -> dict[str, Any]:
    return {"OCIv1": {"config": {"User": "10001", "WorkingDir": "/home/finecut", **own}}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system with nothing wrong in it."""
    for folder in ("usr/bin", "opt/finecut", "home/finecut", "proc", f"{PACKAGES}/finecut"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/bin/python").touch()
    # Tests and keys that an index gives to all are no secrets of ours.
    (tmp_path / PACKAGES / "others/test").mkdir(parents=True)
    (tmp_path / PACKAGES / "others/test/key.pem").write_text(KEY)
    (tmp_path / "proc/key.pem").write_text(KEY)
    return tmp_path


def test_a_clean_root_is_clean(root: Path) -> None:
    assert [*strays_in(root), *secrets_in(root, config(Env=["PATH=/usr/bin"]))] == []


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("home/finecut/.netrc", "", "a file that looks like a secret: /home/finecut/.netrc"),
        ("etc/pip.conf", "", "a file that looks like a secret: /etc/pip.conf"),
        ("opt/finecut/x", KEY, "a private key: /opt/finecut/x"),
        (f"{PACKAGES}/finecut/x", KEY, f"a private key: /{PACKAGES}/finecut/x"),
        ("root/x.json", '{"private_key_id": "' + 40 * "a" + '"}', "a private key: /root/x.json"),
    ],
)
def test_secrets_are_found(root: Path, path: str, text: str, said: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    assert list(secrets_in(root, config())) == [said]


def test_a_secret_may_be_a_setting(root: Path) -> None:
    [said] = secrets_in(root, config(Env=["HUB_TOKEN=x", "HOME=/home/finecut"]))
    assert said == "a setting that looks like a secret: HUB_TOKEN"


@pytest.mark.parametrize("name", ["gcc", "gcc-12", "cc", "g++", "go", "ld"])
def test_compilers_are_found(root: Path, name: str) -> None:
    (root / "usr/bin" / name).touch()
    assert list(strays_in(root)) == [f"a compiler: /usr/bin/{name}"]


def test_our_tests_are_found_and_those_of_others_are_not(root: Path) -> None:
    (root / PACKAGES / "tests").mkdir()
    assert list(strays_in(root)) == []
    for room in ("house", "io", "pipeline", "transforms", "support"):
        (root / PACKAGES / "finecut/tests" / room).mkdir(parents=True)
    assert list(strays_in(root)) == [f"tests of ours: /{PACKAGES}/finecut/tests"]


def test_it_has_to_run_as_somebody_without_rights_in_a_folder_of_his_own(root: Path) -> None:
    assert list(rights_in(config(User="0"), root)) == ["it runs as 0"]
    assert list(rights_in(config(User=""), root)) == ["it runs as root"]
    [said] = rights_in(config(User="10001"), root)
    assert said.startswith("its working folder /home/finecut is not its user's")


def test_each_layer_has_its_instruction() -> None:
    steps = [
        {"created_by": "/bin/sh"},
        {"created_by": "ENV A=1", "empty_layer": True},
        {"created_by": "/bin/sh -c #(nop) COPY dir:0f3a in source/io"},
    ]
    sizes = [{"size": 5}, {"size": 7}]
    made = layers({"Manifest": json.dumps({"layers": sizes}), "OCIv1": {"history": steps}})
    assert made == [(5, "(base)"), (7, "COPY source/io")]


def test_the_launcher_is_given_the_template_parameters() -> None:
    flags = list(as_parameters(OPTIONS))
    assert "--splitting_algorithm=content" in flags
    assert "--generate_previews=true" in flags
    assert len(flags) == sum(word.startswith("--") for word in OPTIONS)
