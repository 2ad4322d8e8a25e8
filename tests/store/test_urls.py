"""What a URL says, and what is said of one that cannot be read."""

from __future__ import annotations

import pytest

from quaff.errors import ConfigurationError
from quaff.store.urls import mask, read


def test_a_sentinel_url_names_sentinels_and_service_and_both_kinds_of_users() -> None:
    """User, password and database are the server's; the sentinels' begin with sentinel_; TLS is for both."""
    target = read("rediss+sentinel://u:p%40@h1,h2:1/shop?db=3&sentinel_password=x&ssl_ca_certs=ca.pem", "a test")
    assert (target.kind, target.service) == ("sentinel", "shop")
    assert target.hosts == (("h1", 26379), ("h2", 1))
    assert target.at(("h9", 7)) == "rediss://u:p%40@h9:7?db=3&ssl_ca_certs=ca.pem"
    assert target.sentinel(("h1", 26379)) == "rediss://h1:26379?password=x&ssl_ca_certs=ca.pem"


def test_a_cluster_url_names_some_of_its_nodes() -> None:
    """Each with or without a port, also as IPv6 addresses."""
    target = read("redis+cluster://u:p@h1,[::1]:7000", "a test")
    assert (target.kind, target.hosts) == ("cluster", (("h1", 6379), ("::1", 7000)))
    assert target.at(("::1", 7000)) == "redis://u:p@[::1]:7000"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+clster://h", "Did you mean 'redis\\+cluster'"),
        ("valkey://h", "Did you mean 'redis'"),
        ("VALKEYS://h", "Did you mean 'rediss'"),
        ("REDIS://h", "Did you mean 'redis'"),
        ("redis:127.0.0.1", "Did you mean 'redis://'"),
        ("unix:/tmp/socket", "Did you mean 'unix://'"),
        ("redis+cluster:h", "Did you mean 'redis\\+cluster://'"),
        ("http://h", "redis://host:6379/0"),
        ("redis+cluster://", "host:port"),
        ("redis+cluster://h1,,h2", "host:port"),
        ("redis+cluster://h:99999", "host:port"),
        ("redis+cluster://h/1", "no databases"),
        ("redis+cluster://h?db=1", "no databases"),
        ("redis+sentinel://h1,h2", "the name that the sentinels know"),
        ("redis+sentinel://h1/shop/1", "the name that the sentinels know"),
        ("redis+sentinel://u:se/cret@h1/shop", "escape"),
        ("redis+cluster://u:se#cret@h1", "escape"),
        ("redis://h/shop", "'shop' is no database, which is a number.*QUAFF_NAMESPACE"),
        ("redis://h/-1", "'-1' is no database"),
        ("redis://h:1/3/2", "'3/2' is no database"),
        ("rediss://u:secret@h:1/1/2?ssl_ca_certs=x", "'1/2' is no database"),
        ("redis://h//2", "'/2' is no database"),
        ("redis://h/0?db=4", "its database is 0, and \\?db=4: write one"),
        ("redis://u/x:secret@h/0", "escape"),
        ("redis://u:12#secret@h/0", "escape"),
        ("redis://u:12?secret@h/0", "escape"),
    ],
)
def test_a_url_of_another_form_is_refused_with_what_to_write(url: str, words: str) -> None:
    """It names the place it comes from, and no password."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        read(url, "QUAFF_URL in the environment")
    assert "QUAFF_URL in the environment" in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "redis://h",
            "redis://h:1/",
            "redis://h/0",
            "redis://u:p%2F@[::1]:1/15/",
            "rediss://h?db=4",
            "redis://h/4?db=4",
        ),
        *("redis://h/0?password=a@b", "unix:///run/valkey.sock?db=3"),
    ],
)
def test_a_url_with_one_database_or_none_is_taken(url: str) -> None:
    """After the host, or as an option."""
    assert read(url, "a test").url == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis+sentinel://u:secret@h1,h2/shop", "redis+sentinel://u:***@h1,h2/shop"),
        ("rediss+cluster://:secret@h1", "rediss+cluster://:***@h1"),
        ("redis+sentinel://h/shop?sentinel_password=secret&db=1", "redis+sentinel://h/shop?sentinel_password=***&db=1"),
    ],
)
def test_passwords_of_several_servers_are_masked(url: str, shown: str) -> None:
    """As those of one."""
    assert mask(url) == shown
