"""The access token that dingtalk-token-operator keeps in a mounted Secret.

Read the file for each request: it is small, in memory, and always the newest. Standard library only.
"""

import json
import pathlib
import time
import urllib.error
import urllib.request

TOKEN_FILE = pathlib.Path("/var/run/secrets/dingtalk/access_token")

# How long to wait for a renewed token to reach the file before a second try.
PATIENCE_SECONDS = 2.0


class InvalidAuthentication(Exception):
    """DingTalk does not accept the token: it has expired, or another took its place."""


def token(file: pathlib.Path = TOKEN_FILE) -> str:
    """The token to send now. The file has no newline at its end."""
    return file.read_text(encoding="ascii")


def call(url: str, context=None, file: pathlib.Path = TOKEN_FILE, patience: float = PATIENCE_SECONDS) -> bytes:
    """Calls DingTalk's API. A token that is refused is tried once more as soon as the file has another.

    Raises InvalidAuthentication where the file has no better one, urllib.error.URLError otherwise.
    """
    used = token(file)
    try:
        return _get(url, used, context)
    except InvalidAuthentication:
        deadline = time.monotonic() + patience
        while token(file) == used and time.monotonic() < deadline:
            time.sleep(0.1)
        return _get(url, token(file), context)


def _get(url: str, access_token: str, context) -> bytes:
    request = urllib.request.Request(url, headers={"x-acs-dingtalk-access-token": access_token})
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        if error.code == 400 and _code(error.read()) == "InvalidAuthentication":
            raise InvalidAuthentication(url) from None
        raise


def _code(body: bytes):
    try:
        return json.loads(body).get("code")
    except (ValueError, AttributeError):
        return None
