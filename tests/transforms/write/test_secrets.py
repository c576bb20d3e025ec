"""What is secret does not reach a list of failures."""

from __future__ import annotations

import pytest

from finecut.io.records import Source, to_json
from finecut.transforms.beam.guard import failure
from finecut.transforms.write.secrets import redacted

SECRET = "s3cr3tvalue0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"https://me:{SECRET}@host/a.mp4",
        f"gs://bucket/a.mp4?X-Goog-Signature={SECRET}",
        f"https://host/a.mp4?part=1&X-Amz-Credential={SECRET}&x=2",
        f"https://host/a?sig={SECRET}",
        f"https://host/a?GoogleAccessId={SECRET}&Expires=1",
        f"Authorization: Bearer {SECRET}",
        f"{{'access_token': '{SECRET}', 'expires_in': 3}}",
        f'{{"api_key": "{SECRET}"}}',
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f"password={SECRET}",
        f"Basic {SECRET}==",
        f"Authorization: Token {SECRET}",
        f"Incorrect API key provided: sk-{SECRET}",
        f"https://me:p@{SECRET}@host/x",
        f"https://me:pa/{SECRET}@host/x",
        f'"password": "my {SECRET} pass"',
        f"token=abc,{SECRET}",
        f"sig = b'{SECRET}'",
        f"Cookie: sid={SECRET}; x=1",
        f"session_key={SECRET}",
        f"passphrase: {SECRET}",
        f"x-goog-signature%3D{SECRET}",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    assert SECRET not in redacted(text)
    assert SECRET not in to_json(failure("probe", Source("a", "a", "a"), ValueError(text)))


def test_the_key_of_a_server_is_hidden_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FINECUT_API_KEY", SECRET)
    assert redacted(f"the server said {SECRET} is wrong") == "the server said … is wrong"


@pytest.mark.parametrize(
    "text",
    [
        "/films/key=value folder/a.mp4 is no film",
        "no key frame: the film has none before 3.5 s",
        "[Errno 2] No such file or directory: '/films/a@b.mp4'",
        "gs://bucket/path/a.mp4?generation=123 cannot be read",
        "embed:gpu_memory_gb=8 is too much",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text).replace("=…", "=value") == text
