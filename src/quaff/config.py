"""Settings: flag > environment > code or ``app.config`` > ``[tool.quaff]`` in pyproject.toml > default.

``VALKEY_URL`` and ``REDIS_URL``, which other programs set too, are asked last of all for the URL.
"""

from __future__ import annotations

import logging
import os
import tomllib
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from quaff.errors import ConfigurationError, did_you_mean
from quaff.model import durability, webhook
from quaff.model.ids import NAME
from quaff.model.options import LONGEST
from quaff.model.sealing import BARE, Seals
from quaff.model.spread import Spread, spread
from quaff.store import embedded


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What can be set, with its default. Times in seconds, sizes in bytes.

    Attributes:
        url: the server; ``url_source`` says where it comes from. A relative ``embedded:`` is made absolute.
        lease: how long a silent worker keeps its jobs; its supervisor renews it every third of that.
        grace: how long a stopping worker lets running jobs finish.
        deadline: for one call to the server, all tries together.
        key_window: how long ``key=`` protects after the end of its job; no shorter than any call goes on trying.
        timeout: how long an attempt may run, where its task does not say; 0 sets no limit.
        failed_count, failed_bytes: the most dead letters that a queue keeps; the oldest make room.
        partitions: over how many a queue is spread, ``{"mail": 8}``, in the environment ``mail=8,thumbs=4``; 1 where
            nothing is said.
        durability: where a job has to be before ``delay`` returns, if neither task nor call says it: ``primary``,
            ``replicas:N``, ``fsync`` or ``fsync:N``.
        processes: 0 takes the number of CPUs.
        signing_keys, encryption_keys: each at least 16 characters, in the environment with commas between them; the
            first one seals, all are good to open. In Flask SECRET_KEY and its FALLBACKS sign where no others are given.
        dashboard_user, dashboard_password: who is let into the dashboard, where the application does not decide that.
        webhook_url: where the world is told of jobs that were given up and queues that wait; webhook_key: what that is
            signed with, at least 16 characters.
        alert_wait: a queue is late when the head of its line has waited for longer; 0: never.
        require_signed: take nothing from the server that is neither signed nor encrypted.
        seals: what these keys do.
        job_log_level: of the least record that is kept with its job, ``INFO`` by default; ``OFF`` keeps none.
        statistics: count for screens what ended when, how long it waited and ran, and what failed of what.
    """

    url: str = "embedded:"
    url_source: str = "default"
    namespace: str = "quaff"
    lease: float = 30
    grace: float = 25
    deadline: float = 2
    durability: str = durability.PRIMARY
    result_ttl: float = 500
    failed_ttl: float = 7 * 24 * 3600
    failed_count: int = 10_000
    failed_bytes: int = 256 * 1024 * 1024
    key_window: float = 3600
    timeout: float = 600
    max_message: int = 256 * 1024
    max_result: int = 1024 * 1024
    partitions: Spread = Spread({})
    processes: int = 0
    concurrency: int = 8
    async_concurrency: int = 100
    max_crashes: int = 3
    job_log_level: str = "INFO"
    statistics: bool = True
    signing_keys: tuple[bytes, ...] = ()
    encryption_keys: tuple[bytes, ...] = ()
    require_signed: bool = False
    dashboard_user: str = ""
    dashboard_password: str = ""
    webhook_url: str = ""
    webhook_key: str = ""
    alert_wait: float = 0
    seals: Seals = BARE

    def __repr__(self) -> str:
        from quaff.store.urls import mask

        shown = {name: getattr(self, name) for name in self.__struct_fields__ if name not in _HIDDEN}
        shown |= {"url": mask(self.url), "url_source": mask(self.url_source)}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


#: In the environment, and no settings of an application.
_OTHERS = frozenset({"QUAFF_SERVER_BINARY"})
_FIELDS = tuple(name for name in Settings.__struct_fields__ if name not in ("url_source", "seals"))
_SECRET = ("signing_keys", "encryption_keys")
#: Whoever knows the URL of a webhook may often call it.
_HIDDEN = (*_SECRET, "dashboard_password", "webhook_url", "webhook_key")
_LEAST_KEY = 16
_AT_LEAST = {"concurrency": 1, "async_concurrency": 1, "max_crashes": 1}

_DAY = 24 * 3600
#: The least and the most of each time. A tombstone of KEY_WINDOW also keeps the late try of an enqueue from storing the
#: job again, so it outlives the longest DEADLINE, whatever each process has set.
SECONDS: dict[str, tuple[float, float]] = {
    "lease": (1, _DAY),
    "grace": (0, 7 * _DAY),
    "deadline": (0.05, 30),
    "result_ttl": (0, LONGEST),
    "failed_ttl": (0, LONGEST),
    "key_window": (60, LONGEST),
    "timeout": (0, LONGEST),
    "alert_wait": (0, LONGEST),
}


def resolve(
    flags: Mapping[str, Any] | None = None,
    code: Mapping[str, Any] | None = None,
    *,
    app_config: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
    directory: Path | None = None,
) -> Settings:
    """The settings in force.

    Args:
        flags: given on the command line; None values do not count.
        code: given to ``Quaff(...)``.
        app_config: Flask's ``app.config``, of which the ``QUAFF_*`` keys count, and SECRET_KEY to sign with.
        environ: the environment.
        directory: where pyproject.toml is looked for; the working directory by default.

    Raises:
        ConfigurationError: a value that cannot be, or an unknown name in code; the text says where it was set. An
            unknown name elsewhere, which may belong to something else, is a warning.
    """
    found: dict[str, tuple[Any, str]] = {}
    layers = (
        (_pyproject(directory or Path.cwd()), "[tool.quaff] in pyproject.toml"),
        (code or {}, "Quaff(...)"),
        (_prefixed(app_config or {}, "app.config"), "app.config"),
        (_prefixed({key: value for key, value in environ.items() if value}, "the environment"), "the environment"),
        (flags or {}, "the command line"),
    )
    for values, source in layers:
        for name, value in values.items():
            if value is None:
                continue
            check_names([name], source)
            found[name] = (value, f"QUAFF_{name.upper()} in {source}" if source == "the environment" else source)
    if "url" not in found:
        for key in ("VALKEY_URL", "REDIS_URL"):
            if environ.get(key):
                found["url"] = (environ[key], f"{key} in the environment")
                break
    return _checked(found, _of_flask(app_config or {}))


def check_names(names: Iterable[str], source: str) -> None:
    """Raise ConfigurationError for the name of no setting; ``source``: where somebody has written it."""
    for name in names:
        if name not in _FIELDS:
            raise ConfigurationError(f"unknown setting {name!r} in {source}.{did_you_mean(name, _FIELDS)}")


def _of_flask(app_config: Mapping[str, Any]) -> tuple[bytes, ...]:
    """What a web application signs with, the newest key first; nothing if it has none."""
    newest, older = app_config.get("SECRET_KEY"), app_config.get("SECRET_KEY_FALLBACKS") or ()
    keys = (newest, *reversed(older)) if newest else ()
    if not all(isinstance(key, (str, bytes)) for key in keys):
        # Flask reads FLASK_SECRET_KEY as JSON, and a number would come to be so many zero bytes.
        raise ConfigurationError("SECRET_KEY and SECRET_KEY_FALLBACKS of the application: give texts or bytes.")
    return tuple(_bytes(key) for key in keys)


def _bytes(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else bytes(key)


def _keys(name: str, given: Any, source: str) -> tuple[bytes, ...]:
    """A ring of keys. Raises ConfigurationError, which says nothing of any."""
    several = [each.strip() for each in given.split(",")] if isinstance(given, str) else given
    if isinstance(several, bytes):
        several = [several]
    if not isinstance(several, (list, tuple)) or not all(isinstance(key, (str, bytes)) for key in several):
        raise ConfigurationError(f"{name} from {source}: give a list of keys, or a text with commas between them.")
    short = [place for place, key in enumerate(several, 1) if len(key) < _LEAST_KEY]
    if short:
        raise ConfigurationError(
            f"{name} from {source}: key {short[0]} of {len(several)} has less than {_LEAST_KEY} characters; make one "
            "with python -c 'import secrets; print(secrets.token_hex(32))'."
        )
    return tuple(_bytes(key) for key in several)


def _checked(found: Mapping[str, tuple[Any, str]], secret_keys: tuple[bytes, ...]) -> Settings:
    fields = Settings.__annotations__
    types = {"str": str, "float": float, "int": int, "bool": bool}
    values: dict[str, Any] = {}
    for name, (value, source) in found.items():
        if name in _SECRET:
            values[name] = _keys(name, value, source)
            continue
        if name == "partitions":
            values[name] = spread(value, source)
            continue
        kind = types[fields[name]]
        try:
            values[name] = msgspec.convert(value, kind, strict=False) if kind is not str else str(value)
        except msgspec.ValidationError:
            wanted = {int: "a whole number", bool: "true or false"}.get(kind, "a number")
            raise ConfigurationError(f"{name}={value!r} from {source}: give {wanted}.") from None
        if name in SECONDS:
            least, most = SECONDS[name]
            if not least <= values[name] <= most:  # nan is not, either
                raise ConfigurationError(f"{name}={value!r} from {source}: give seconds from {least:g} to {most}.")
        elif kind is int and values[name] < _AT_LEAST.get(name, 0):
            raise ConfigurationError(f"{name}={value!r} from {source}: give at least {_AT_LEAST.get(name, 0):g}.")
        if name == "namespace" and not NAME.fullmatch(values[name]):
            raise ConfigurationError(
                f"{name}={value!r} from {source}: use 1 to 128 of the characters A-Z a-z 0-9 . _ -"
            )
        if name == "durability":
            durability.check(f" from {source}", values[name])
        if name == "job_log_level":
            values[name] = values[name].upper()
            levels = [*logging.getLevelNamesMapping(), "OFF"]
            if values[name] not in levels:
                raise ConfigurationError(f"{name}={value!r} from {source}: give one of {', '.join(levels)}.")
    if url := values.get("webhook_url"):
        webhook.check(f" from {found['webhook_url'][1]}", url, values.get("webhook_key", ""))
    url, source = values.get("url", Settings().url), found["url"][1] if "url" in found else "default"
    values.setdefault("signing_keys", secret_keys)
    return Settings(**{**values, **_settled(url, source), "seals": _seals(values)})


def _seals(values: Mapping[str, Any]) -> Seals:
    signing, encryption = values["signing_keys"], values.get("encryption_keys", ())
    required = values.get("require_signed", False)
    if required and not (signing or encryption):
        raise ConfigurationError("require_signed=True, and there is no key to verify with: set SIGNING_KEYS.")
    return Seals(signing, encryption, required=required) if signing or encryption else BARE


def _settled(url: str, source: str) -> dict[str, str]:
    """A URL that means the same in every process, and where it comes from."""
    if not url.startswith("embedded:") or url.startswith("embedded://"):
        return {"url": url, "url_source": source}
    home = str(embedded.directory(url))
    # The name of a directory can be any bytes, and only text can be told to another process.
    told = url if any("\ud800" <= each <= "\udfff" for each in home) else f"embedded://{home}"
    return {"url": told, "url_source": f"{source}: {url}"}


def _pyproject(directory: Path) -> dict[str, Any]:
    path = directory / "pyproject.toml"
    try:
        table = tomllib.loads(path.read_text()).get("tool", {}).get("quaff", {})
    except (OSError, UnicodeDecodeError):
        return {}
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    return _known(table, str, "[tool.quaff] in pyproject.toml")


def _prefixed(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The ``QUAFF_*`` keys by the names of their settings."""
    own = {key[6:].lower(): value for key, value in values.items() if key.startswith("QUAFF_") and key not in _OTHERS}
    return _known(own, lambda name: f"QUAFF_{name.upper()}", source)


def _known(values: Mapping[str, Any], written: Callable[[str], str], source: str) -> dict[str, Any]:
    """Those that are settings; the others, which may belong to somebody else, are warned about as they were written."""
    for name in values:
        if name not in _FIELDS:
            near = did_you_mean(written(name), map(written, _FIELDS))
            warnings.warn(f"{written(name)} in {source} is no setting of Quaff.{near}", stacklevel=5)
    return {name: value for name, value in values.items() if name in _FIELDS}
