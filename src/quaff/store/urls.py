"""What a URL says: which servers there are and how each of them is spoken to. No I/O."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode

from quaff.errors import ConfigurationError, did_you_mean

#: Host and port of a server.
Address = tuple[str, int]

_FORMS = (
    "Use embedded:, redis://host:6379/0, unix:///path/to/socket, redis+sentinel://host1,host2/service or "
    "redis+cluster://host1,host2; with TLS rediss://, rediss+sentinel:// or rediss+cluster://."
)
_SERVER = ("redis", "rediss", "unix")
#: The port of one host, where the URL gives none.
_PORTS = {"sentinel": 26379, "cluster": 6379}
_BY_PORT = _SERVER[:2]
_SCHEMES = ("embedded", *_SERVER, *(f"{tls}+{kind}" for tls in _BY_PORT for kind in _PORTS))

_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@,\s]+)(?::(?P<port>\d{1,5}))?")
_ESCAPE = "escape / as %2F, ? as %3F, # as %23 and @ as %40 in a password"
#: What the options of the sentinels begin with: sentinel_username, sentinel_password.
_THEIRS = "sentinel_"


class Target(NamedTuple):
    """A URL taken apart.

    Attributes:
        kind: ``embedded``, ``server``, ``sentinel`` or ``cluster``.
        url: as it was given; of ``sentinel`` and ``cluster`` see ``at`` instead.
        scheme: of a single server: ``redis`` or ``rediss``.
        login: ``user:password@`` as it stands in the URL, or nothing.
        hosts: the sentinels, or some nodes of the cluster.
        service: the name that the sentinels know the primary by.
        query: for each server, from the ``?`` on.
        sentinel_query: for each sentinel.
    """

    kind: str
    url: str
    scheme: str = ""
    login: str = ""
    hosts: tuple[Address, ...] = ()
    service: str = ""
    query: str = ""
    sentinel_query: str = ""

    def at(self, address: Address) -> str:
        """The URL of one server."""
        return f"{self.scheme}://{self.login}{_written(address)}{self.query}"

    def sentinel(self, address: Address) -> str:
        """The URL of one sentinel, which has users of its own and no databases."""
        return f"{self.scheme}://{_written(address)}{self.sentinel_query}"


def read(url: str, source: str) -> Target:
    """Take a URL apart.

    Args:
        source: where it comes from, for error texts.

    Raises:
        ConfigurationError: a URL of another form. The text shows no password.
    """
    scheme, _, rest = url.partition(":")
    tls, _, kind = scheme.partition("+")
    if scheme not in _SCHEMES:
        # As others write it: valkey://, redis+tls://, REDIS://.
        hint = did_you_mean(re.sub("valkey", "redis", scheme.lower()), _SCHEMES)
        raise ConfigurationError(f"{mask(url)!r} (from {source}) is not a URL of a server.{hint} {_FORMS}")
    if scheme != "embedded" and not rest.startswith("//"):
        raise ConfigurationError(
            f"{mask(url)!r} (from {source}) is not a URL of a server. Did you mean {scheme + '://'!r}? {_FORMS}"
        )
    if not kind:
        trouble = _slip(rest.removeprefix("//")) if scheme in _BY_PORT else ""
        if trouble:
            raise ConfigurationError(f"{mask(url)} (from {source}) is not a URL of a server: {trouble}. {_FORMS}")
        return Target("embedded" if scheme == "embedded" else "server", url)
    authority, question, query = rest.removeprefix("//").partition("?")
    login, at, authority = authority.rpartition("@")
    hosts, _, service = authority.partition("/")
    asked = parse_qs(query)
    trouble = _trouble(kind, hosts, service, asked)
    if trouble or "/" in login or "#" in url:
        trouble = trouble or _ESCAPE
        raise ConfigurationError(f"{mask(url)} (from {source}) is not a URL of a server: {trouble}. {_FORMS}")
    ours = {name: values for name, values in asked.items() if not name.startswith(_THEIRS)}
    theirs = {
        name.removeprefix(_THEIRS): values for name, values in asked.items() if name.startswith((_THEIRS, "ssl_"))
    }
    return Target(
        kind,
        url,
        tls,
        login + at,
        tuple(_address(each, _PORTS[kind]) for each in hosts.split(",")),
        service,
        question and f"?{urlencode(ours, doseq=True)}",
        f"?{urlencode(theirs, doseq=True)}",
    )


def _slip(rest: str) -> str:
    """What is wrong with the URL of one server, after its ``//``, or nothing: what would be read as another one."""
    place, _, query = rest.partition("?")
    login, _, place = place.rpartition("@")
    if "#" in rest or "/" in login or "@" in query.partition("=")[0]:
        return _ESCAPE
    database = place.partition("/")[2].removesuffix("/")
    if not re.fullmatch("[0-9]*", database):
        return (
            f"{database!r} is no database, which is a number: host:6379/0; applications are kept apart by "
            "QUAFF_NAMESPACE"
        )
    other = parse_qs(query).get("db", [database])
    if database and other != [database]:
        return f"its database is {database}, and ?db={other[0]}: write one of them"
    return ""


def _trouble(kind: str, hosts: str, service: str, asked: dict[str, list[str]]) -> str:
    """What is wrong with a URL of several servers, or nothing."""
    for each in hosts.split(","):
        found = _HOST.fullmatch(each)
        if found is None or int(found["port"] or 1) not in range(1, 65536):
            return "write its hosts as host:port, with commas between them"
    if kind == "sentinel" and (not service or "/" in service):
        return "the name that the sentinels know the primary by comes after the hosts, and the database as ?db=1"
    if kind == "cluster" and (service or asked.get("db", ["0"]) != ["0"]):
        return "a cluster has no databases but 0; separate applications by QUAFF_NAMESPACE"
    return ""


def _address(text: str, port: int) -> Address:
    found = _HOST.fullmatch(text)
    assert found is not None
    return found["host"].strip("[]"), int(found["port"] or port)


def _written(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def mask(url: str) -> str:
    """The URL without its password, fit for logs and errors; of an ambiguous one it rather hides too much.

    People forget to escape ``/ ? # @`` in a password, so this does not parse: from the first ``:`` to the last ``@``.
    """
    found = re.match(r"([\w+]+://(?!/)[^:]*):(.*)@(.*)", url, re.DOTALL)
    if found:
        head, secret, rest = found.groups()
        # The last @ may be one of a password in the query, and what follows it the rest of that password.
        url = f"{head}:***@{'***' if _PASSWORD.search(secret) else rest}"
    return _PASSWORD.sub(r"\1***", url)


_PASSWORD = re.compile(r"([?&]\w*password=)[^&]*", re.IGNORECASE)
