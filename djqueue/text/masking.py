"""Masking secrets: values whose names say that they are secret are not shown to people.

The admin, the commands, texts of exceptions and djqueue's logs use this one masker. It keeps
secrets off screens and out of logs; it does not protect the data in the store. ``DJQUEUE["MASK"]``
adds and removes names.
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
"""More deeply nested values are replaced as a whole; arguments are never nested so deeply."""

# Words that make a name secret by themselves.
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
# Parts of names, in any spelling.
_PARTS = (
    *("accesskey", "accountkey", "apikey", "authorization", "authorisation", "cardno"),
    *("cardnum", "connectionstring", "connstr", "cookie", "credential", "creditcard"),
    *("encryptionkey", "passphrase", "passwd", "password", "privatekey", "secret"),
    *("sessionid", "signature", "signingkey", "socialsecurity", "sshkey", "token"),
)
# Words that make a name secret in combination.
_STORES = {"amqp", "broker", "cache", "database", "db", "mongo", "mongodb", "mysql", "postgres"}
_CODES = {"access", "auth", "backup", "recovery", "reset", "security", "verification"}
_OPEN = {"cache", "foreign", "group", "partition", "primary", "public", "routing", "sort", "unique"}
"""Words before "key" that make it no secret, as in ``primary_key``."""

_NAMING = ("name", "key", "field", "header", "param", "parameter", "variable", "k")
_VALUED = ("value", "values", "val", "v", "content", "data", "text", "default")


def is_secret(name: object) -> bool:
    """Return whether a value with that name is to be masked."""
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
    """Return the words of a name, also of ``X-Api-Key``, ``apiKey`` and ``API_KEY``."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.findall(r"[^\W_]+", parted.casefold())


def _fits(pattern: str, name: str, joined: str) -> bool:
    return fnmatchcase(name.casefold(), pattern) or fnmatchcase(joined, pattern)


# -- values ----------------------------------------------------------------------------------------


def masked(value: Any, levels: int = MOST_LEVELS) -> Any:
    """Return a JSON value with all secrets replaced, at any depth.

    Names are taken from objects, from pairs (``["Authorization", "…"]``) and from named values
    (``{"name": "password", "value": "…"}``); texts go through `masked_text`.
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
        # `$` and `v` are keys of stored arguments; a "key" that holds a name is not a secret.
    } | {key: value[key] for key in _naming(value) if named and is_secret(key)}


def _is_hidden(key: str, item: Any) -> bool:
    """Return whether a whole value is secret. An ``auth`` object with secret keys is not: only
    those keys are masked.
    """
    if isinstance(item, dict) and key.casefold() in ("auth", "api") and any(map(is_secret, item)):
        return False
    return is_secret(key)


def _naming(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys whose values are names, for an object that holds a name and a value."""
    keys = {str(key).casefold() for key in value}
    if "$" not in keys and keys & {*_VALUED}:
        yield from (key for key in value if str(key).casefold() in _NAMING)


def _name_of(value: Any) -> object:
    """Return a name, also one that an argument stores as bytes or as a tagged value."""
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
"""Characters of a text that are searched and shown. Texts that workers store are shorter."""
_LAST_WORD = 1000


def masked_text(text: str, most: int = LONGEST) -> str:
    """Return a text with the secrets masked that can be recognised in it, cut to `most` characters,
    as the search takes time.

    Recognised are the user part of a URL, ``name=value`` and ``name: value`` in the notations of
    queries, headers, JSON and Python, pairs, ``Bearer …``, and well-known formats of keys.
    """
    if len(text) < 5:
        return text
    if len(text) > most:
        # Cut between two words: a part of a secret may not be recognised.
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
    """Mask what is a secret by its form."""
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
    """Mask the value after each match of `pattern` whose name is secret."""
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
    """Return the end of the value that begins at `start`."""
    opening = re.compile(r"[brfuBRFU]{0,2}(\\*(?:\"\"\"|'''|[\"']))").match(text, start)
    if opening:
        return _end_of_quoted(text, opening.end(), opening[1])
    if text[start] in _CLOSING:
        return _end_of_bracket(text, start)
    if any(header in name.casefold() for header in _HEADERS):
        # The rest of a header's line: it may have several values.
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
