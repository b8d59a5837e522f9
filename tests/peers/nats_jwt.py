"""Users of a NATS server as an operator makes them: JWTs and the keys of their owners.

https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt
"""

import base64
import binascii
import json
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SEED, OPERATOR, ACCOUNT, USER = 18 << 3, 14 << 3, 0, 20 << 3


def _encode(prefix, data):
    whole = bytes(prefix) + data
    checksum = binascii.crc_hqx(whole, 0).to_bytes(2, "little")
    return base64.b32encode(whole + checksum).rstrip(b"=").decode()


class Key:
    """An nkey."""

    def __init__(self, kind):
        self.private = Ed25519PrivateKey.generate()
        raw = self.private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        self.seed = _encode([SEED | (kind >> 5), (kind & 31) << 3], raw)
        self.public = _encode([kind], self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, subject, name, claims):
        """A JWT about another key."""
        body = {
            "jti": subject.public, "iat": int(time.time()), "iss": self.public, "name": name,
            "sub": subject.public, "nats": {"version": 2, **claims},
        }  # fmt: skip
        parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, body]
        text = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_base64url(self.private.sign(text.encode()))}"


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Operator:
    """An operator with one account and one user."""

    def __init__(self):
        operator, account, user = Key(OPERATOR), Key(ACCOUNT), Key(USER)
        everything = dict.fromkeys(["subs", "data", "payload", "imports", "exports", "conn", "leaf"], -1)
        none = {"pub": {}, "sub": {}}
        self.jwt = operator.sign(operator, "operator", {"type": "operator"})
        self.account_jwt = operator.sign(
            account,
            "account",
            {"type": "account", "limits": {**everything, "wildcards": True}, "default_permissions": none},
        )
        user_jwt = account.sign(
            user, "gateway", {"type": "user", "subs": -1, "data": -1, "payload": -1, **none}
        )
        self.account, self.seed = account.public, user.seed
        self.creds = (
            f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )

    def server_config(self):
        return (
            f"operator: {self.jwt}\nresolver: MEMORY\n"
            f"resolver_preload: {{ {self.account}: {self.account_jwt} }}\n"
        )
