"""What ``aws configure`` wrote: profiles, with keys or with how to get some.

Keys that stand in a profile are read here. Roles to assume, single sign-on and programs that give
out credentials need botocore, whose import takes 0.4 s: only then is it imported.
"""

import configparser
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

#: The files, by the variables that name others.
FILES: Final = {
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
}
KEYS: Final = {
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
}
#: What a profile that has no keys says of how to get some.
WAYS: Final = (
    "credential_process",
    "credential_source",
    "login_session",
    "role_arn",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
)
#: After this, the credentials are asked for again; botocore knows which are still good.
FRESH: Final = timedelta(minutes=5)
LOG_IN: Final = "log in again (aws sso login), or run aws sts get-caller-identity to see what it is"


class Profile(NamedTuple):
    """A section of the files."""

    name: str
    said: Mapping[str, str]

    def keys(self) -> dict[str, str]:
        """Those that stand in it, by obstore's names."""
        return {name: self.said[key] for name, key in KEYS.items() if self.said.get(key)}

    def identity(self) -> dict[str, Any] | None:
        """What obstore has to know; nothing if the profile says nothing of who we are."""
        if (keys := self.keys()) and "secret_access_key" in keys:
            return dict(keys)
        if any(self.said.get(way) for way in WAYS):
            return {"credential_provider": _by_botocore(self.name)}
        return None


def profile() -> Profile | None:
    """The one that was chosen, or the default one if there is any."""
    chosen = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    name = chosen or "default"
    config, credentials = (_read(variable) for variable in FILES)
    inside = "default" if name == "default" else f"profile {name}"
    said = {**config.get(inside, {}), **credentials.get(name, {})}
    if not said and chosen:
        raise PermissionError(
            f"there is no profile {name!r} (AWS_PROFILE) in {' or '.join(FILES.values())}. Make "
            f"it with aws configure --profile {name}, or name another one"
        )
    return Profile(name, said) if said else None


def _read(variable: str) -> dict[str, dict[str, str]]:
    path = Path(os.environ.get(variable) or FILES[variable]).expanduser()
    parser = configparser.RawConfigParser(strict=False, default_section="\0")
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}
    except configparser.Error as error:
        raise PermissionError(f"{path} is not a file of profiles: {error}") from error
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _by_botocore(name: str) -> Callable[[], dict[str, Any]]:
    """What gives credentials as often as they are needed."""
    try:
        import botocore.session
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise PermissionError(
            f"the profile {name!r} has no keys, but says how to get some, which takes botocore: "
            "run pip install 'finecut[s3]', or give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error

    def provided() -> dict[str, Any]:
        try:
            found = session.get_credentials()
            keys = None if found is None else found.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise PermissionError(
                f"the profile {name!r} gave no credentials ({error}). Usually they have expired: "
                f"{LOG_IN}"
            ) from error
        if keys is None:
            raise PermissionError(f"the profile {name!r} gave no credentials: {LOG_IN}")
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(UTC) + FRESH,
        }

    session = botocore.session.Session(profile=name)
    provided()  # what is wrong is said now, and not within a request
    return provided
