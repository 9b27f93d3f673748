"""The OpenSSL objects of a TLS connection, for compiled code to decrypt and encrypt with.

aiofastnet makes a connection's SSL object over two memory BIOs and keeps it to itself, as Python's
ssl module does. Where it lies in the transport's engine is read here, and not believed before it
has been verified in every point: that both are of the layout that is known, that the object
belongs to the context it was made with, and its BIOs to it. Where anything is otherwise (another
version, a Python with OpenSSL built in, kernel TLS) the connection is not touched by compiled code,
and all else is the same.
Runs on: the thread of the loop.
"""

from __future__ import annotations

import ctypes
import functools
import ssl
from typing import Any

from aiofastnet.openssl_compat import OPENSSL_DYN_LIBS
from aiofastnet.ssl_transport import SSLTransport_Socket

_WORD = ctypes.sizeof(ctypes.c_void_p)
_CONTEXT_AT = 2 * _WORD
"""In Python's SSLContext: an object's header, then its SSL_CTX *."""
_BEHIND_CONTEXT = ("incoming_buf", "outgoing_buf", "incoming", "outgoing", "ssl")
"""The last fields of aiofastnet's SSLEngineDirect, behind its own SSL_CTX *: two bytearrays, then
pointers to the objects of OpenSSL."""

SSL_WRITE_WORDS = 5
"""How many `tls_write_words` gives."""


class _Functions:
    """The functions of the OpenSSL that Python has loaded."""

    def __init__(self, libssl: str, libcrypto: str) -> None:
        ssl_library, crypto = ctypes.CDLL(libssl), ctypes.CDLL(libcrypto)
        pending = crypto.BIO_ctrl_pending
        self.to_read = self._addresses(
            ssl_library.SSL_read, ssl_library.SSL_get_error, crypto.BIO_write, pending
        )
        self.to_write = self._addresses(ssl_library.SSL_write, crypto.BIO_read, pending)
        self._of_ssl = [
            self._getter(each)
            for each in (
                ssl_library.SSL_get_SSL_CTX,
                ssl_library.SSL_get_rbio,
                ssl_library.SSL_get_wbio,
            )
        ]

    @staticmethod
    def _addresses(*functions: Any) -> tuple[int, ...]:
        return tuple(ctypes.cast(each, ctypes.c_void_p).value or 0 for each in functions)

    @staticmethod
    def _getter(function: Any) -> Any:
        function.argtypes, function.restype = (ctypes.c_void_p,), ctypes.c_void_p
        return function

    def parts(self, ssl_object: int) -> tuple[int, ...]:
        """The context and the two BIOs of an SSL object."""
        return tuple(get(ssl_object) or 0 for get in self._of_ssl)


@functools.cache
def _functions() -> _Functions | None:
    if OPENSSL_DYN_LIBS is None:
        return None
    try:
        return _Functions(OPENSSL_DYN_LIBS.libssl, OPENSSL_DYN_LIBS.libcrypto)
    except (OSError, AttributeError):
        return None


def _words_of(owner: object) -> list[int]:
    """A Python object's own memory."""
    count = type(owner).__basicsize__ // _WORD
    return list((ctypes.c_size_t * count).from_address(id(owner)))


def _is_bytearray(address: int) -> bool:
    kind = ctypes.c_size_t.from_address(address + _WORD).value
    return kind == id(bytearray)


def _objects(transport: Any) -> tuple[_Functions, int, int, int] | None:
    """OpenSSL's functions, and the SSL *, its incoming and its outgoing BIO * of a transport that
    owns its socket."""
    functions = _functions()
    if functions is None or not isinstance(transport, SSLTransport_Socket):
        return None
    engine, context = transport.get_extra_info("ssl_object"), transport.get_extra_info("sslcontext")
    if type(engine).__name__ != "SSLEngineDirect" or not isinstance(context, ssl.SSLContext):
        return None
    words = _words_of(engine)
    context_at = len(words) - len(_BEHIND_CONTEXT) - 1
    expected = ctypes.c_size_t.from_address(id(context) + _CONTEXT_AT).value
    if context_at < 0 or words[context_at] != expected:
        return None
    *buffers, incoming, outgoing, ssl_object = words[context_at + 1 :]
    if not all(buffers) or not all(_is_bytearray(each) for each in buffers):
        return None
    if 0 in (incoming, outgoing, ssl_object):
        return None
    if functions.parts(ssl_object) != (expected, incoming, outgoing):
        return None
    return functions, ssl_object, incoming, outgoing


def tls_words(transport: Any) -> tuple[int, ...] | None:
    """What decrypts: SSL *, its incoming and its outgoing BIO *, SSL_read, SSL_get_error, BIO_write
    and BIO_ctrl_pending of a transport that owns its socket; None where they are not to be had."""
    found = _objects(transport)
    if found is None:
        return None
    functions, *objects = found
    return *objects, *functions.to_read


def tls_write_words(transport: Any) -> tuple[int, ...] | None:
    """What encrypts: SSL *, its outgoing BIO *, SSL_write, BIO_read and BIO_ctrl_pending of such a
    transport; None where they are not to be had."""
    found = _objects(transport)
    if found is None:
        return None
    functions, ssl_object, _, outgoing = found
    return ssl_object, outgoing, *functions.to_write
