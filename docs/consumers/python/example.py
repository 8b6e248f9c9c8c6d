"""Calls an API: example.py METHOD PATH [CORP_ID], with the body on standard input."""

import json
import os
import sys

import dingtalk_token


def main(method, path, corp_id=None):
    body = sys.stdin.buffer.read()
    answer = dingtalk_token.call(
        method,
        os.environ.get("DINGTALK_API", "https://api.dingtalk.com") + path,
        json.loads(body) if body else None,
        corp_id=corp_id,
        folder=os.environ.get("DINGTALK_TOKENS", dingtalk_token.FOLDER),
        patience=float(os.environ.get("DINGTALK_PATIENCE", dingtalk_token.PATIENCE_SECONDS)),
    )
    print(json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (dingtalk_token.TokenRefused, dingtalk_token.DingTalkError, OSError, ValueError) as error:
        sys.exit(str(error))
