"""Greeting: whether a store can be reached at all, asked once before the work and not for long.

A store that is away for a moment is waited for, for minutes (:mod:`retry`): the work of hours is
worth it. One that nobody here has ever heard is another matter. Usually there is no network, or
Google's library looks for credentials on a server that only Google's machines have; whoever
typed the command should know that within seconds.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Final

from finecut.io.errors import NOT_DONE, UserError
from finecut.io.storage.retry import retried, status_of
from finecut.io.storage.stores import GOOGLE, UnknownStore, store_for

#: Seconds for everything: credentials, the name of the server, a connection, an answer.
PATIENCE: Final = 5.0
#: Seconds in which what failed at once is tried again.
AGAIN: Final = 2.0
LOG_IN: Final = (
    "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to the "
    "path of a key"
)


class StoreAway(UserError, OSError):
    """A store that does not answer; the message says why, and what to do."""

    exit_code = NOT_DONE


def greet(uris: Iterable[str], seconds: float = PATIENCE) -> None:
    """Raise :class:`StoreAway` if one of the buckets these lie in gives no answer.

    A refusal is an answer: what is wrong comes up when a file is asked for.
    """
    for bucket in sorted({"/".join(uri.split("/")[:3]) for uri in uris if uri.startswith(GOOGLE)}):
        try:
            store_for(bucket)
        except UnknownStore:
            continue  # reported in its place, with the option that names it
        greeting = _Greeting(bucket)
        greeting.start()
        greeting.join(seconds)
        if greeting.is_alive() or greeting.trouble is not None:
            raise StoreAway(greeting.message(seconds))


class _Greeting(threading.Thread):
    """One question to one bucket. A thread can be left alone with what takes too long."""

    def __init__(self, bucket: str) -> None:
        super().__init__(name="finecut-greeting", daemon=True)
        self.bucket = bucket
        self.trouble: OSError | None = None
        self._has_credentials = False

    def run(self) -> None:
        try:
            retried(self._ask, AGAIN)
        except (FileNotFoundError, PermissionError):
            pass
        except OSError as error:
            if status_of(error) is None and status_of(error.__cause__ or error) is None:
                self.trouble = error

    def _ask(self) -> None:
        from finecut.io.storage import gcs

        gcs.sign_in(self.bucket)
        self._has_credentials = True
        gcs.GoogleStore().inside(self.bucket, None)

    def message(self, seconds: float) -> str:
        why = f"no answer within {seconds:g} s" if self.trouble is None else _short(self.trouble)
        if not self._has_credentials:
            host = os.environ.get("GCE_METADATA_HOST")
            named = f"GCE_METADATA_HOST={host}" if host else "the metadata server"
            return (
                f"{self.bucket} was not accessed, because there are no credentials: Google's "
                f"library looks for them at {named} ({why}). Usually this machine is not in "
                f"Google's cloud, or has no service account: {LOG_IN}; NO_GCE_CHECK=true ends "
                "the search"
            )
        return (
            f"{self.bucket} cannot be reached ({why}). Usually this machine has no network, or a "
            "proxy or firewall blocks storage.googleapis.com: fix that. If the bucket is not "
            f"public, also {LOG_IN}"
        )


def _short(trouble: OSError) -> str:
    """What went wrong at the bottom, without the layers of libraries around it."""
    [first, *_] = trouble.args or (trouble,)
    reason = getattr(first, "reason", None)
    return str(trouble) if reason is None else str(reason).rpartition("): ")[2] or str(trouble)
