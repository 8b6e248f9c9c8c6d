"""Calls DingTalk's APIs with the access token that dingtalk-token-operator keeps in a mounted Secret.

Standard library only; Python 3.9 or later.
"""

import json
import pathlib
import re
import time
import urllib.error
import urllib.parse
import urllib.request

# Where the Secret is mounted.
FOLDER = pathlib.Path("/var/run/secrets/dingtalk")
# Above the 90 seconds within which the kubelet updates a mounted Secret.
PATIENCE_SECONDS = 120.0
_INTERVAL_SECONDS = 1.0


class TokenRefused(Exception):
    """DingTalk refused the token: it has expired or was replaced."""


class DingTalkError(Exception):
    """An error that DingTalk answered, other than a refused token."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(f"DingTalk answered HTTP {status}, code {code!r}: {message}")
        self.status, self.code = status, code


def token(corp_id=None, folder=FOLDER) -> str:
    """Returns the token to send now. Read it for each request: the file is small and in memory.

    corp_id is for the layouts Combined and PerCorp, with each Secret of PerCorp mounted in a folder
    named after its corpId.
    """
    names = ["access_token"]
    if corp_id is not None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", corp_id):
            raise ValueError("invalid corpId")
        names = [f"{corp_id}.access_token", f"{corp_id}/access_token"]
    for file in (pathlib.Path(folder, name) for name in names):
        try:
            content = file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            continue
        if not re.fullmatch(r"[!-~]+", content):
            raise ValueError(f"no token in {file}")
        return content
    raise FileNotFoundError(f"{folder}: neither of these files: {', '.join(names)}")


def with_token(send, corp_id=None, folder=FOLDER, patience=PATIENCE_SECONDS):
    """Returns send(token). While that raises TokenRefused, waits for another token in the file and calls
    send again, until the patience (in seconds) ends."""
    deadline = time.monotonic() + patience
    while True:
        used = token(corp_id, folder)
        try:
            return send(used)
        except TokenRefused:
            pass
        while token(corp_id, folder) == used:
            if time.monotonic() >= deadline:
                raise TokenRefused(
                    f"DingTalk refused the access token, and no other came within {patience:g} s"
                )
            time.sleep(_INTERVAL_SECONDS)


def call(method, url, body=None, *, corp_id=None, folder=FOLDER, patience=PATIENCE_SECONDS, context=None):
    """Calls an API, again with a fresh token if need be, and returns its parsed JSON.

    The body is anything that json.dumps takes; context is an ssl.SSLContext. The token is sent as the
    kind of API wants it: in a header to /v1.0/… of api.dingtalk.com, in the query to the older APIs of
    oapi.dingtalk.com.
    """
    return with_token(lambda used: _send(method, url, body, used, context), corp_id, folder, patience)


def _send(method, url, body, used, context):
    if not re.fullmatch(r"[!-~]+", url):
        # urllib would show the whole URL in its error, with the token.
        raise ValueError("the URL has characters that have to be percent-encoded")
    parts = urllib.parse.urlsplit(url)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if re.match(r"/v[0-9]", parts.path):
        headers["x-acs-dingtalk-access-token"] = used
    else:
        query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True) + [("access_token", used)]
        url = parts._replace(query=urllib.parse.urlencode(query)).geturl()
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as response:
            return _judged(response.status, response.read(), used)
    except urllib.error.HTTPError as error:
        return _judged(error.code, error.read(), used)
    except urllib.error.URLError as error:
        raise ConnectionError(f"{method} {parts.netloc}{parts.path}: {error.reason}") from None


def _judged(status: int, content: bytes, used: str):
    """Returns the answer, or raises the error in it. The older APIs answer HTTP 200 with an errcode that
    is not 0, some of them 88 with the code in sub_code."""
    try:
        answer = json.loads(content or b"null")
    except ValueError:
        raise DingTalkError(status, "", "no JSON") from None
    fields = answer if isinstance(answer, dict) else {}
    errcode = str(fields.get("errcode") or 0)
    if status < 400 and errcode == "0":
        return answer
    code = str(fields.get("code") or "" if status >= 400 else fields.get("sub_code") or errcode)
    if code in ("InvalidAuthentication", "40014", "42001"):
        raise TokenRefused("DingTalk refused the access token")
    message = fields.get("message") or fields.get("errmsg") or ""
    raise DingTalkError(status, code, str(message).replace(used, "***"))
