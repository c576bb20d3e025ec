"""Who we are, and where the store is: clients of obstore for buckets and containers.

One a process and bucket, made of the environment as it is; a copy of the process makes its own.
Nothing here is asked of a server that only a cloud's own machines have, unless this is one: such a
server is waited for elsewhere for a minute.
"""

import os
import re
import shutil
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from finecut.io.errors import UserError
from finecut.io.storage.aws_profiles import Profile, profile
from finecut.io.storage.obstore_here import library

ADDRESS: Final = re.compile(r"https?://[^/?#\s]+[^?#\s]*")
BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
CONTAINER: Final = re.compile(r"[a-z0-9$][a-z0-9-]{2,62}")
ACCOUNT: Final = re.compile(
    r"(?P<container>[^@/]+)@(?P<account>[a-z0-9]+)\.(?:dfs|blob)\.[a-z0-9.-]+"
)

#: Seconds for a connection; that a server may be silent; and that one request may take in all.
CONNECTING, SILENCE, LONGEST = 5, 120, 3600
#: Where one attempt takes many requests, each is sent again by obstore so often. Otherwise never:
#: ``retry.py`` is the ladder of attempts.
SENT_AGAIN: Final = 4
#: Clients that are kept at the same time.
KEPT: Final = 64

#: obstore looks for who we are where these say.
NATIVE: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_METADATA_ENDPOINT",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
NATIVE_AZURE: Final = (
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_IDENTITY_ENDPOINT",
    "AZURE_MSI_ENDPOINT",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_TOKEN",
)
#: Each of Azure's settings, by the variables that say it: obstore's, and those of Azure's tools.
AZURE: Final[Mapping[str, tuple[str, ...]]] = {
    "account_name": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
    "account_key": (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_MASTER_KEY",
        "AZURE_STORAGE_KEY",
    ),
    "sas_key": ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
    "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
#: What a connection string calls them.
CONNECTION: Final = {
    "AccountName": "account_name",
    "AccountKey": "account_key",
    "SharedAccessSignature": "sas_key",
    "BlobEndpoint": "endpoint",
}
#: What a client is made of; where one of them changes, another is made.
SAID: Final = (
    *NATIVE,
    *NATIVE_AZURE,
    *(variable for variables in AZURE.values() for variable in variables),
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_SKIP_SIGNATURE",
    "AZURE_SKIP_SIGNATURE",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_USE_EMULATOR",
    "HOME",
)
#: What the makers of the machines write into them.
MACHINE: Final = tuple(
    Path("/sys/class/dmi/id", name) for name in ("sys_vendor", "board_vendor", "bios_version")
)
#: Of all machines that Microsoft makes, this is written into Azure's.
AZURES_TAG: Final = (
    Path("/sys/class/dmi/id/chassis_asset_tag"),
    "7783-7084-3265-9085-8269-3286-77",
)


class WrongSettings(UserError, OSError):
    """What the environment says of a store cannot be: an address that is none, or a key."""


class Place(NamedTuple):
    """A bucket of S3, or a container of Azure's."""

    #: How all names of its objects begin, without the last slash.
    root: str
    bucket: str
    account: str = ""

    @property
    def is_s3(self) -> bool:
        return self.root.startswith("s3://")


def place_of(root: str) -> Place:
    """``s3://bucket``, ``az://container`` or ``abfss://container@account.dfs.core.windows.net``."""
    scheme, _, bucket = root.partition("://")
    named = ACCOUNT.fullmatch(bucket) if scheme != "s3" else None
    container, account = (named["container"], named["account"]) if named else (bucket, "")
    if not (BUCKET if scheme == "s3" else CONTAINER).fullmatch(container):
        raise FileNotFoundError(2, f"{bucket!r} is not the name of a bucket or container", root)
    return Place(root, container, account)


def client(place: Place, patient: bool = False) -> Any:
    """This process's own. ``patient``: its requests are parts of something, and sent again."""
    return _client(os.getpid(), place, patient, _environment())


def sign_in(place: Place) -> None:
    """Find out who we are, as far as that can be said without the store."""
    if place.is_s3:
        _who_at_s3(profile())
    else:
        _azure(place)


def _environment() -> tuple[str | None, ...]:
    return tuple(map(os.environ.get, SAID))


@lru_cache(maxsize=KEPT)
def _client(_process: int, place: Place, patient: bool, _said: tuple[str | None, ...]) -> Any:
    make = library()._store.S3Store if place.is_s3 else library()._store.AzureStore
    options = _s3(place) if place.is_s3 else _azure(place)
    endpoint = str(options.get("endpoint", ""))
    if endpoint and not ADDRESS.fullmatch(endpoint):  # which the library dies of
        raise WrongSettings(
            f"{place.root}: {endpoint!r} is no address of a server: it has to begin with http:// "
            f"or https://. Look at {endpoint_variable(place)}"
        )
    try:
        return make(
            place.bucket,
            client_options=_client_options(endpoint.startswith("http://") or _emulates(options)),
            retry_config={
                "max_retries": SENT_AGAIN if patient else 0,
                "retry_timeout": timedelta(seconds=SILENCE),
            },
            **options,
        )
    except library().exceptions.BaseError as error:
        [said, *_] = str(error).splitlines()
        raise WrongSettings(
            f"{place.root}: what the environment says of this store cannot be used ({said}). Look "
            f"at the variables that begin with {'AWS' if place.is_s3 else 'AZURE'}_"
        ) from error


def endpoint_variable(place: Place) -> str:
    """What says where the store is."""
    return "AWS_ENDPOINT_URL" if place.is_s3 else "AZURE_STORAGE_ENDPOINT"


def _emulates(options: Mapping[str, Any]) -> bool:
    return bool(options.get("use_emulator"))


def _client_options(allow_http: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "allow_http": allow_http,
        "connect_timeout": timedelta(seconds=CONNECTING),
        "read_timeout": timedelta(seconds=SILENCE),
        "timeout": timedelta(seconds=LONGEST),
        "user_agent": "finecut",
    }
    if authorities := os.environ.get("AWS_CA_BUNDLE"):
        options["root_certificate"] = Path(authorities).read_bytes()
    return options


# ── S3 ───────────────────────────────────────────────────────────────────────────────────────────


def endpoint_of_s3(known: Profile | None = None) -> str:
    """Where it is, if it is not Amazon's."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    said = next(filter(None, map(os.environ.get, names)), "")
    return (said or (known.said.get("endpoint_url", "") if known else "")).rstrip("/")


def _s3(place: Place) -> dict[str, Any]:
    known = profile()
    options = _who_at_s3(known)
    if endpoint := endpoint_of_s3(known):
        options["endpoint"] = endpoint
    elif "." not in place.bucket:  # which no certificate covers
        options["virtual_hosted_style_request"] = True
    options["region"] = _region(place.bucket, endpoint, known)
    return options


def _region(bucket: str, endpoint: str, known: Profile | None) -> str:
    said = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    said = said or (known.said.get("region") if known else None)
    # Others than Amazon have no regions, and take this one.
    return said or ("" if endpoint else region_of(bucket)) or "us-east-1"


def region_of(bucket: str) -> str:
    """Where a bucket of Amazon's lies, which it tells everybody; nothing if it does not answer."""
    import requests

    try:
        answer = requests.head(
            f"https://s3.amazonaws.com/{bucket}", timeout=CONNECTING, allow_redirects=False
        )
    except requests.RequestException:
        return ""
    return answer.headers.get("x-amz-bucket-region", "")


def _who_at_s3(known: Profile | None) -> dict[str, Any]:
    """Who we are. Nobody, where nothing says so: then only public buckets can be read."""
    key, secret = map(os.environ.get, ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    if bool(key) != bool(secret):
        there, missing = ("ID", "secret") if key else ("secret", "ID")
        raise PermissionError(
            f"the {there} of an access key is set and its {missing} is not: set both "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither"
        )
    if any(map(os.environ.get, NATIVE)):
        return {}
    identity = known.identity() if known else None
    if identity is None:
        return {} if _is_amazons() else {"skip_signature": True}
    return identity


def _is_amazons() -> bool:
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return False
    return any("amazon" in _said_by(path).lower() for path in MACHINE)


def _said_by(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


# ── Azure ────────────────────────────────────────────────────────────────────────────────────────


def _azure(place: Place) -> dict[str, Any]:
    options = _said_of_azure()
    if place.account:
        options["account_name"] = place.account
    if options.get("use_emulator"):
        return options
    if not options.get("account_name"):
        raise PermissionError(
            f"{place.root} names no storage account: set AZURE_STORAGE_ACCOUNT_NAME or "
            "AZURE_STORAGE_CONNECTION_STRING, or write "
            f"abfss://{place.bucket}@ACCOUNT.dfs.core.windows.net/…"
        )
    return options | _who_at_azure(options)


def _said_of_azure() -> dict[str, Any]:
    """What the environment says: a connection string, and single variables, which count more."""
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    said = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    options: dict[str, Any] = {CONNECTION[name]: said[name] for name in CONNECTION if name in said}
    if "endpoint" not in options and "EndpointSuffix" in said and "account_name" in options:
        protocol = said.get("DefaultEndpointsProtocol", "https")
        suffix = said["EndpointSuffix"]
        options["endpoint"] = f"{protocol}://{options['account_name']}.blob.{suffix}"
    for name, variables in AZURE.items():
        if found := next(filter(None, map(os.environ.get, variables)), None):
            options[name] = found
    emulates = os.environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true")
    if emulates or said.get("UseDevelopmentStorage") == "true":
        options["use_emulator"] = True
    if "sas_key" in options:
        options["sas_key"] = options["sas_key"].lstrip("?")
    return options


def _who_at_azure(options: Mapping[str, Any]) -> dict[str, Any]:
    if {"account_key", "sas_key"} & {*options} or any(map(os.environ.get, NATIVE_AZURE)):
        return {}
    if _is_azures():
        return {}
    if _has_azure_cli():
        return {"use_azure_cli": True}
    return {"skip_signature": True}


def _is_azures() -> bool:
    path, tag = AZURES_TAG
    return bool(os.environ.get("IDENTITY_ENDPOINT")) or _said_by(path).strip() == tag


def _has_azure_cli() -> bool:
    folder = Path(os.environ.get("AZURE_CONFIG_DIR") or "~/.azure").expanduser()
    return shutil.which("az") is not None and (folder / "azureProfile.json").is_file()


def is_nobody(place: Place) -> bool:
    """Whether requests go out unsigned, because nothing says who we are."""
    return bool(dict(client(place).config).get("skip_signature"))
