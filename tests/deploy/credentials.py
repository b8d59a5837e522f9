"""What people put into Secrets: keys, certificates, tokens. Made for the tests, and used nowhere else."""

import base64
import datetime
import functools
import ipaddress
import json
import secrets
import subprocess
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def secret_content(key, binary=None):
    """What the key of a Secret holds, going by its name."""
    certificate, private_key = certificate_and_key()
    if key in ("tls.crt", "ca.crt"):
        return certificate
    if key == "tls.key":
        return private_key
    if key == "session.pem":
        return session_key(binary)
    if key.endswith(".json"):
        return json.dumps(
            {"keys": [{"kty": "oct", "kid": "a", "alg": "HS256", "k": url_base64(secrets.token_bytes(32))}]}
        )
    if key.endswith(".creds"):
        return (
            "-----BEGIN NATS USER JWT-----\neyJ0eXAiOiJKV1QifQ.e30.AA\n------END NATS USER JWT------\n\n"
            "-----BEGIN USER NKEY SEED-----\nSUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n"
            "------END USER NKEY SEED------\n"
        )
    if key == "address":
        return "http://im:8080"
    return secrets.token_hex(24)


def url_base64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@functools.cache
def session_key(binary):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([binary, "keygen", "--out", Path(folder) / "k.pem"], check=True, capture_output=True)
        return (Path(folder) / "k.pem").read_text()


@functools.cache
def certificate_and_key():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "im.example.com")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem).decode(), private.decode()


@functools.cache
def local_certificate():
    """An authority, and a certificate of it for 127.0.0.1 with its key."""
    now = datetime.datetime.now(datetime.timezone.utc)
    pem = serialization.Encoding.PEM

    def issue(name, key, issuer, issuer_key, days, *extensions):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=days))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(pem).decode()

    def named(name):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    is_authority = x509.BasicConstraints(ca=True, path_length=None)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    root = issue(named("test authority"), root_key, named("test authority"), root_key, 365, is_authority)
    certificate = issue(named("gateway"), key, named("test authority"), root_key, 30, here)
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return root, certificate, private.decode()
