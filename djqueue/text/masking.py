"""What people never see: values whose name says that they are secret, wherever they read them.

One masker for the admin, the commands, the texts of exceptions and djqueue's logs. It is a courtesy
to whoever looks over a shoulder and to whoever reads a log, not a protection: ``encrypted=True``
is. ``DJQUEUE["MASK"]`` adds names to it, or removes some.
"""

from __future__ import annotations

import base64
import json
import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from djqueue.conf import settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MASK", "is_secret", "masked", "masked_text"]

MASK = "********"

MOST_LEVELS = 100
"""Deeper values are replaced as a whole; no argument that was dispatched is so deep."""

# Words of a name, each a secret by itself.
_WORDS = frozenset(
    (
        *("api", "apikey", "auth", "authentication", "authn", "authz", "bearer", "card"),
        *("cards", "cc", "cookie", "cookies", "cred", "creds", "credential"),
        *("credentials", "csc", "csrf", "cvc", "cvv", "cvv2", "dsn", "hmac", "iban"),
        *("jwt", "key", "keys", "kennwort", "mfa", "mnemonic", "oauth", "oauth2", "otp"),
        *("otps", "pass", "passcode", "passphrase", "passwort", "passwd", "pem", "pin"),
        *("pins", "pincode", "psw", "pswd", "pw", "pwd", "salt", "sas", "secret"),
        *("secrets", "sess", "sessid", "session", "sessions", "sid", "sig", "signature"),
        *("ssn", "totp", "xsrf"),
    )
)
# Parts of a name, however it is written.
_PARTS = (
    *("accesskey", "accountkey", "apikey", "authorization", "authorisation", "cardno"),
    *("cardnum", "connectionstring", "connstr", "cookie", "credential", "creditcard"),
    *("encryptionkey", "passphrase", "passwd", "password", "privatekey", "secret"),
    *("sessionid", "signature", "signingkey", "socialsecurity", "sshkey", "token"),
)
# Two words that are a secret together.
_STORES = {"amqp", "broker", "cache", "database", "db", "mongo", "mongodb", "mysql", "postgres"}
_CODES = {"access", "auth", "backup", "recovery", "reset", "security", "verification"}
_OPEN = {"cache", "foreign", "group", "partition", "primary", "public", "routing", "sort", "unique"}
"""``primary_key`` and its kind are no secrets."""

_NAMING = ("name", "key", "field", "header", "param", "parameter", "variable", "k")
_VALUED = ("value", "values", "val", "v", "content", "data", "text", "default")


def is_secret(name: object) -> bool:
    """Whether people may not see a value of that name."""
    return isinstance(name, str) and _is_secret(name[:200], settings().mask)


@lru_cache(maxsize=4096)
def _is_secret(name: str, mask: tuple[tuple[str, ...], tuple[str, ...]]) -> bool:
    words = _words(name)
    joined = "_".join(words)
    added, removed = mask
    if any(_fits(pattern, name, joined) for pattern in removed):
        return False
    if any(_fits(pattern, name, joined) or pattern in words for pattern in added):
        return True
    squashed = "".join(words)
    if any(part in squashed for part in _PARTS):
        return True
    found = set(words)
    if {"key", "keys"} & found and len(found) > 1 and found & _OPEN:
        found -= {"key", "keys"}
    return bool(
        found & _WORDS
        or (found & {"url", "uri"} and found & {*_STORES, "redis", "postgresql", "sentry"})
        or (found & {"code", "codes", "answer"} and found & _CODES)
    )


def _words(name: str) -> list[str]:
    """``X-Api-Key``, ``apiKey`` and ``API_KEY`` in words."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.findall(r"[^\W_]+", parted.casefold())


def _fits(pattern: str, name: str, joined: str) -> bool:
    return fnmatchcase(name.casefold(), pattern) or fnmatchcase(joined, pattern)


# -- values ----------------------------------------------------------------------------------------


def masked(value: Any, levels: int = MOST_LEVELS) -> Any:
    """A JSON value with every secret in it replaced, at any depth.

    Names are those of objects, of pairs (``["Authorization", "…"]``), of named values
    (``{"name": "password", "value": "…"}``), and what `masked_text` finds in texts.
    """
    if isinstance(value, str):
        return masked_text(value)
    if not isinstance(value, (dict, list)):
        return value
    if levels <= 0:
        return "…"
    if isinstance(value, list):
        return _masked_list(value, levels - 1)
    return _masked_dict(value, levels - 1)


def _masked_list(value: list[Any], levels: int) -> list[Any]:
    if len(value) == 2 and is_secret(_name_of(value[0])):
        return [value[0], MASK]
    shown = [masked(item, levels) for item in value]
    for at, item in enumerate(value[:-1]):  # a command line: --password hunter2
        if isinstance(item, str) and item.startswith("-") and is_secret(item):
            shown[at + 1] = MASK
    return shown


def _masked_dict(value: Mapping[str, Any], levels: int) -> dict[str, Any]:
    named = any(is_secret(_name_of(value.get(key))) for key in _naming(value))
    return {
        key: MASK
        if _is_hidden(key, item) or (named and str(key).casefold() in _VALUED)
        else masked(item, levels)
        for key, item in value.items()
        # `$` and `v` are how arguments are stored; a "key" that names something is no secret.
    } | {key: value[key] for key in _naming(value) if named and is_secret(key)}


def _is_hidden(key: str, item: Any) -> bool:
    """Whether all of a value is secret. One called ``auth`` that names its own secrets is not."""
    if isinstance(item, dict) and key.casefold() in ("auth", "api") and any(map(is_secret, item)):
        return False
    return is_secret(key)


def _naming(value: Mapping[str, Any]) -> Iterator[str]:
    """The keys of an object whose values name what the object holds, if it is of that kind."""
    keys = {str(key).casefold() for key in value}
    if "$" not in keys and keys & {*_VALUED}:
        yield from (key for key in value if str(key).casefold() in _NAMING)


def _name_of(value: Any) -> object:
    """A name that an argument may have stored as bytes or as another type's text."""
    if isinstance(value, dict) and isinstance(inner := value.get("v"), str):
        if value.get("$") != "bytes":
            return inner
        try:
            return base64.b64decode(inner).decode()
        except ValueError:
            return inner
    return value


# -- texts -----------------------------------------------------------------------------------------

_SECRET_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_USERINFO = re.compile(
    r"(?<=://)(?P<user>[^\s/:@?#\"'<>]*)(?P<rest>:[^\s/?\"'<>]*@|:[^\s\"'<>@]*@|@)"
)
_BEARER = re.compile(r"\b(bearer)(\s+|%20)(?![*=:])[^\s\"'<>,;]+", re.IGNORECASE)
_BASIC = re.compile(r"\b(Basic)(\s+)(?=[A-Za-z0-9+/]*[0-9=A-Z])[A-Za-z0-9+/]{8,}={0,2}(?![a-z])")
_SHAPES = re.compile(
    r"\beyJ[\w-]{4,}\.[\w-]+\.?[\w-]*"
    r"|\b(?:gh[opsur]_|github_pat_|xox[abprs]-|sk_live_|rk_live_|glpat-)[\w-]{8,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
)
_MARKS = ("eyJ", "gh", "github_pat_", "xox", "sk_live_", "rk_live_", "glpat-", "AKIA", "ASIA")
_FAILING_ROW = re.compile(r"(Failing row contains )\(.*\)", re.IGNORECASE)
_PAIRED = re.compile(
    r"(?P<before>[(\[]\s*b?(?P<q>\\*[\"'])(?P<name>[\w.\- ]{1,80})(?P=q)\s*,\s*)(?=\S)"
)
_NAMED = re.compile(
    # The look-ahead keeps the engine from trying every shorter name as well.
    r"(?<![\w.\-$])(?=(?P<name>[\w$][\w.\-$]{0,200}))(?P=name)"
    r"(?P<between>\\*[\"']?\]?\)?[ \t]*(?:=>|:=|==|[=:])[ \t]*)(?=\S)"
)
_NAME_AND_VALUE = re.compile(
    r"(?P<before>(?P<q>\\*[\"'])(?:name|key|field|header)(?P=q)\s*:\s*(?P=q)"
    r"(?P<name>[^\"'\\]{1,80})(?P=q)\s*,\s*(?P=q)(?:value|val)(?P=q)\s*:\s*)(?=\S)",
    re.IGNORECASE,
)
_OPTION = re.compile(r"(?P<before>(?<!\S)--?(?P<name>[A-Za-z][\w-]{0,60})[ \t]+)(?=[^\s-])")
_HEADERS = ("authorization", "cookie")
_SCHEME = re.compile(r"(?:bearer|basic|token|digest|negotiate|apikey)[ \t]+", re.IGNORECASE)
_BARE = re.compile(r"[^\s,;&)}\]\"'<>]+")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ERRORS = ("error", "exception", "warning", "exists", "expired")
MOST_BRACKETED = 10_000


LONGEST = 72 << 10
"""Characters of a text that are looked at, and shown. What a worker stores is shorter."""
_LAST_WORD = 1000


def masked_text(text: str, most: int = LONGEST) -> str:
    """A text without the secrets that its own words give away, and without what is beyond `most`
    characters: to look for secrets takes its time.

    Those are the user part of a URL, ``name=value`` and ``name: value`` as queries, headers, JSON
    and Python write them, pairs, ``Bearer …``, and what looks like a well-known kind of key.
    """
    if len(text) < 5:
        return text
    if len(text) > most:
        # Between two words: half a secret may not look like one.
        end = max(text.rfind(space, max(most - _LAST_WORD, 0), most) for space in " \n")
        end = most if end < 0 else end
        return f"{masked_text(text[:end])}… ({len(text) - end:,} more characters)"
    if text[0] in "{[" and text.rstrip()[-1:] in ("}", "]"):
        shown = _masked_json(text)
        if shown is not None:
            return shown
    text = _masked_shapes(text, lower := text.casefold())
    if '"value' in lower or "'value" in lower or '"val"' in lower:
        text = _masked_after(_NAME_AND_VALUE, "before", text)
    if '",' in text or "'," in text:
        text = _masked_after(_PAIRED, "before", text)
    text = _masked_after(_NAMED, "", text)
    if " -" in text or text[0] == "-":
        text = _masked_after(_OPTION, "before", text)
    return text


def _masked_shapes(text: str, lower: str) -> str:
    """What is a secret whatever it is called."""
    if "private key" in lower:
        text = _SECRET_BLOCK.sub(MASK, text)
    if "://" in text:
        text = _USERINFO.sub(_masked_userinfo, text)
    if "failing row" in lower:
        text = _FAILING_ROW.sub(rf"\1({MASK})", text)
    if "bearer" in lower:
        text = _BEARER.sub(rf"\1\2{MASK}", text)
    if "Basic" in text:
        text = _BASIC.sub(rf"\1\2{MASK}", text)
    return _SHAPES.sub(MASK, text) if any(each in text for each in _MARKS) else text


def _masked_json(text: str) -> str | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    shown = masked(value)
    return text if shown == value else json.dumps(shown, ensure_ascii=False)


def _masked_userinfo(found: re.Match[str]) -> str:
    if found["rest"] == "@":
        return f"{MASK}@" if found["user"] else "@"
    return f"{found['user']}:{MASK}@"


def _masked_after(pattern: re.Pattern[str], group: str, text: str) -> str:
    """`text` with the value masked that follows each match whose name is a secret's."""
    parts = []
    done = 0
    for found in pattern.finditer(text):
        start = found.end(group) if group else found.end()
        if found.start() < done or not _names_a_secret(found["name"]):
            continue
        end = _end_of_value(text, start, found["name"])
        if end > start:
            parts += [text[done:start], MASK]
            done = end
    return "".join([*parts, text[done:]]) if parts else text


def _names_a_secret(name: str) -> bool:
    words = _words(name)
    return bool(words) and words[-1] not in _ERRORS and is_secret(name)


def _end_of_value(text: str, start: int, name: str) -> int:
    """Where the value that begins at `start` is over."""
    opening = re.compile(r"[brfuBRFU]{0,2}(\\*(?:\"\"\"|'''|[\"']))").match(text, start)
    if opening:
        return _end_of_quoted(text, opening.end(), opening[1])
    if text[start] in _CLOSING:
        return _end_of_bracket(text, start)
    if any(header in name.casefold() for header in _HEADERS):
        # The rest of a header's line, which may hold several.
        end = re.compile(r"[\n\r\"']|\\[rn]|$").search(text, start)
        return end.start() if end else len(text)
    scheme = _SCHEME.match(text, start)
    bare = _BARE.match(text, scheme.end() if scheme else start)
    return bare.end() if bare else start


def _end_of_quoted(text: str, start: int, quote: str) -> int:
    at = text.find(quote, start)
    while at > 0 and len(quote) == 1 and _is_escaped(text, at):
        at = text.find(quote, at + 1)
    return len(text) if at < 0 else at + len(quote)


def _is_escaped(text: str, at: int) -> bool:
    before = text[max(0, at - 20) : at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _end_of_bracket(text: str, start: int) -> int:
    depth = 0
    for at in range(start, min(len(text), start + MOST_BRACKETED)):
        if text[at] in "([{":
            depth += 1
        elif text[at] in ")]}":
            depth -= 1
            if depth == 0:
                return at + 1
    return min(len(text), start + MOST_BRACKETED)
