"""A token that an exchange gives to anybody, and wants to see in the address of a connection.

Runs on: the thread of the loop.
"""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp
import orjson

from net.sockets.http_body import RestError, read_body

TOKEN_LIMIT_S = 10.0
ANSWER_BYTES_MAX = 1 << 16


async def ask_token(url: str, ssl_context: ssl.SSLContext | None, proxy: str) -> Any:
    """What a POST without a body is answered, decoded; RestError, OSError or TimeoutError.

    Redirections are not followed.
    """
    limit = aiohttp.ClientTimeout(total=TOKEN_LIMIT_S)
    headers = {"User-Agent": "pollux"}
    secure = ssl_context if ssl_context is not None else False
    async with aiohttp.ClientSession(headers=headers, timeout=limit) as session:
        try:
            async with session.post(
                url, ssl=secure, allow_redirects=False, proxy=proxy or None
            ) as answer:
                if answer.status != 200:
                    raise RestError(f"{url}: HTTP {answer.status}")
                return orjson.loads(await read_body(answer, ANSWER_BYTES_MAX))
        except orjson.JSONDecodeError:
            raise RestError(f"{url}: the answer is not JSON") from None
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from None
