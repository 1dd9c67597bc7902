"""Keys for what must not be read in a store: the first encrypts, all decrypt.

They are those of ``DJQUEUE["ENCRYPTION_KEYS"]``, and behind them those that are made from
``SECRET_KEY`` and its fallbacks, with which everything was encrypted before the setting was there.
To change a key, put the new one first and keep the old one until no stored job needs it.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings as project
from django.utils.crypto import salted_hmac

from djqueue.conf import settings
from djqueue.errors import MissingPackage, Undecryptable
from djqueue.text.marks import in_own_words

if TYPE_CHECKING:
    from collections.abc import Sequence

MISSING = 'Encryption needs the package cryptography: pip install "djqueue[encryption]".'


class Keyring:
    """Encrypts with the first of `keys`, each 32 bytes in URL-safe base64 (Fernet)."""

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            from cryptography.fernet import Fernet, InvalidToken, MultiFernet
        except ImportError:
            raise in_own_words(MissingPackage(MISSING)) from None
        self._invalid = InvalidToken
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, data: bytes) -> str:
        """Return a token that only these keys turn into `data` again."""
        return self._fernet.encrypt(data).decode()

    def decrypt(self, token: str) -> bytes:
        """Return the data of a token. Raises `Undecryptable` if none of the keys made it, or if it
        was altered.
        """
        try:
            return self._fernet.decrypt(token.encode())
        except (self._invalid, ValueError):
            raise in_own_words(
                Undecryptable(
                    "None of the keys decrypts what this job carries: its key is gone, or it was"
                    ' altered. Put the former key back, last in DJQUEUE["ENCRYPTION_KEYS"] or in'
                    " SECRET_KEY_FALLBACKS, and retry the job."
                )
            ) from None


def keyring() -> Keyring:
    """Return the keyring of the settings. Raises `MissingPackage`, and `ImproperlyConfigured` where
    there is no key.
    """
    return _made(_keys())


def hidden_key(text: str) -> str:
    """Return a digest of a key that is made of arguments: equal for equal texts, and for others not
    to be guessed. All processes have to agree on it, so it is made with the oldest ``SECRET_KEY``:
    a change of ``ENCRYPTION_KEYS``, or a new ``SECRET_KEY`` whose former one is a fallback, leaves
    it as it is.
    """
    secret = (project.SECRET_KEY, *project.SECRET_KEY_FALLBACKS)[-1]
    return salted_hmac("djqueue.key", text, secret=secret, algorithm="sha256").hexdigest()[:40]


def _keys() -> tuple[str, ...]:
    derived = map(_derived, (project.SECRET_KEY, *project.SECRET_KEY_FALLBACKS))
    return (*settings().encryption_keys, *derived)


@lru_cache(maxsize=4)
def _made(keys: tuple[str, ...]) -> Keyring:
    return Keyring(keys)


@lru_cache(maxsize=16)
def _derived(secret: str | bytes) -> str:
    """A key for this purpose alone; it cannot be turned back into `secret`."""
    digest = salted_hmac("djqueue.encryption", "", secret=secret, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest).decode()
