"""URLs of servers. They carry passwords: nothing of one is ever part of a message."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

ESCAPES = "Write # / ? @ in a password as %23 %2F %3F %40."
SCHEMES = ("redis://", "rediss://", "unix://")


def parts_of(url: str) -> SplitResult | None:
    """Return the parts of a URL whose port can be asked for; None if it cannot be read. A ``#``,
    ``/`` or ``?`` in a password ends the address: what follows, up to the ``@``, is then in the
    path, the query or the fragment.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    is_cut = "@" in parts.path or ("@" in parts.query and "=" not in parts.query)
    return None if is_cut or "#" in url else parts
