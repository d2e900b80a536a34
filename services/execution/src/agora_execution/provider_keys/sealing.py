"""How a vendor's key is sealed: AES-256-GCM under a named key-encryption key, bound to its tenant and vendor."""

import base64
import binascii
import os
from collections.abc import Callable, Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12


class KeySettingError(ValueError):
    """The setting of key-encryption keys cannot be read; the message says what it must be."""


class CannotUnseal(Exception):
    """A sealed key cannot be opened: its key-encryption key is not set any more, or the row was changed."""


class SealedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's key as it is stored. `sealed_under` names the key-encryption key."""

    sealed_under: str
    nonce: bytes
    ciphertext: bytes


class KeyRing:
    """Key-encryption keys by name, the current one first. It seals with that, and opens with whichever is named.

    Args:
        keys: 32 bytes each.
        random: makes nonces.
    """

    def __init__(self, keys: Mapping[str, bytes], random: Callable[[int], bytes] = os.urandom) -> None:
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        self._current = next(iter(keys), None)
        self._random = random

    @classmethod
    def read(cls, setting: str) -> "KeyRing":
        """Read `name:base64` pairs, separated by commas, the current one first; empty means none.

        Raises:
            KeySettingError: a pair cannot be read, a key has not 32 bytes, or a name comes twice.
        """
        keys: dict[str, bytes] = {}
        for pair in filter(None, (one.strip() for one in setting.split(","))):
            name, _, encoded = pair.partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                key = b""
            if not name or name in keys or len(key) != _KEY_BYTES:
                raise KeySettingError(
                    "AGORA_KEY_ENCRYPTION_KEYS must be name:base64 pairs of 32 bytes each with different names, the "
                    f"current one first, separated by commas; {name[:20]!r} is not. Make one with: "
                    "openssl rand -base64 32"
                )
            keys[name] = key
        return cls(keys)

    @property
    def current(self) -> str | None:
        """The name of the key that seals; None where there is none."""
        return self._current

    def seal(self, secret: str, *, tenant: str, vendor: str) -> SealedKey:
        """Encrypt a vendor's key under the current key.

        Raises:
            KeySettingError: there is no key-encryption key.
        """
        if self._current is None:
            raise KeySettingError("no key-encryption key is set: set AGORA_KEY_ENCRYPTION_KEYS")
        nonce = self._random(_NONCE_BYTES)
        ciphertext = self._ciphers[self._current].encrypt(nonce, secret.encode(), _bound_to(tenant, vendor))
        return SealedKey(sealed_under=self._current, nonce=nonce, ciphertext=ciphertext)

    def open(self, sealed: SealedKey, *, tenant: str, vendor: str) -> str:
        """Decrypt a vendor's key.

        Raises:
            CannotUnseal: its key-encryption key is unknown, or it is another tenant's or vendor's, or was changed.
        """
        cipher = self._ciphers.get(sealed.sealed_under)
        if cipher is None:
            raise CannotUnseal(f"the key-encryption key {sealed.sealed_under!r} is not set")
        try:
            return cipher.decrypt(sealed.nonce, sealed.ciphertext, _bound_to(tenant, vendor)).decode()
        except InvalidTag as error:
            raise CannotUnseal("the sealed key does not belong here, or was changed") from error


def _bound_to(tenant: str, vendor: str) -> bytes:
    """What a sealed key is only valid with: a row that is copied to another tenant cannot be opened."""
    return f"agora provider key\0{tenant}\0{vendor}".encode()


def last_characters(secret: str) -> str:
    """What is shown of a key to tell it from others: its last four characters, none of a short one."""
    return secret[-4:] if len(secret) >= 16 else ""
