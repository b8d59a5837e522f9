"""Keys, certificates and tokens, made on the spot."""

import base64
import datetime
import hashlib
import hmac
import ipaddress
import json
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PKCS1 = serialization.PrivateFormat.TraditionalOpenSSL
PKCS8 = serialization.PrivateFormat.PKCS8


def write_private_key(path, key, form=PKCS8):
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    )


class RsaKeyPair:
    def __init__(self, private_file, *, bits=2048, form=PKCS8):
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        self.public = self.private.public_key()
        self.private_file = Path(private_file)
        write_private_key(self.private_file, self.private, form)

    def public_pem(self):
        return self.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, directory, name="test authority"):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(
            self.name, self.key.public_key(), x509.BasicConstraints(ca=True, path_length=0)
        )
        self.file = self.directory / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name, *, hosts=("127.0.0.1", "localhost")):
        """Writes NAME.pem and NAME.key. Gives both paths and the serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(
            subject,
            key.public_key(),
            x509.BasicConstraints(ca=False, path_length=None),
            x509.SubjectAlternativeName([_general_name(host) for host in hosts]),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        )
        cert_file, key_file = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_private_key(key_file, key)
        return cert_file, key_file, certificate.serial_number

    def client_context(self):
        return ssl.create_default_context(cafile=str(self.file))

    def _sign(self, subject, public_key, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
            )
        )
        for extension in extensions:
            builder = builder.add_extension(extension, isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())


def _general_name(host):
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


# JSON Web Tokens: RFC 7515, 7517 and 7519.


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value):
    return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def symmetric_jwk(secret, kid):
    return {"kty": "oct", "alg": "HS256", "use": "sig", "kid": kid, "k": base64url(secret)}


def rsa_jwk(public_key, kid):
    numbers = public_key.public_numbers()
    return {
        "kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid,
        "n": _number(numbers.n), "e": _number(numbers.e),
    }  # fmt: skip


def hs256(secret):
    return "HS256", lambda data: hmac.new(secret, data, hashlib.sha256).digest()


def rs256(private_key):
    return "RS256", lambda data: private_key.sign(data, padding.PKCS1v15(), hashes.SHA256())


# How long a token is good beyond its `exp`, for clocks that differ: seconds.
LEEWAY = 30

UNSIGNED = ("none", lambda _data: b"")


def jwt(signer, claims, **header):
    """A compact JWS over the claims."""
    algorithm, sign = signer
    parts = [{"typ": "JWT", "alg": algorithm, **header}, claims]
    signed = ".".join(base64url(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{base64url(sign(signed.encode()))}"
