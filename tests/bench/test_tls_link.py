"""The sender's end of TLS: what is sealed before it is sent arrives, in order, and only then."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest

from bench.load.tls_link import TlsLink
from bench.rig.rig import tls_files

pytestmark = pytest.mark.timeout(30)


def test_what_is_sealed_arrives_when_it_is_sent() -> None:
    with tls_files() as files:
        if files is None:
            pytest.skip("trustme is not installed")
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(files["tls_cert"])
        asking = ssl.create_default_context(cafile=files["ca_file"])
        here, there = socket.socketpair()
        links: list[TlsLink] = []
        server = threading.Thread(target=lambda: links.append(TlsLink(here, serving)))
        server.start()
        with asking.wrap_socket(there, server_hostname="127.0.0.1") as client:
            server.join()
            (link,) = links
            client.sendall(b"hello")
            assert link.recv(100) == b"hello"
            first, second = link.seal(b"a" * 20_000), link.seal(memoryview(b"b"))
            assert b"aaaa" not in first
            client.settimeout(0.05)
            with pytest.raises(TimeoutError):
                client.recv(1)
            link.send_sealed(first)
            link.send_sealed(second)
            client.settimeout(10)
            got = b""
            while len(got) < 20_001:
                got += client.recv(65536)
            assert got == b"a" * 20_000 + b"b"


def test_a_client_that_leaves_during_the_handshake_is_an_os_error() -> None:
    here, there = socket.socketpair()
    there.close()
    with pytest.raises(OSError, match="left during the handshake"):
        TlsLink(here, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
