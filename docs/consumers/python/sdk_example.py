"""Searches users with DingTalk's official SDK: sdk_example.py WORD [CORP_ID]."""

import os
import sys
import urllib.parse

from alibabacloud_dingtalk.contact_1_0.client import Client
from alibabacloud_dingtalk.contact_1_0.models import SearchUserHeaders, SearchUserRequest
from alibabacloud_tea_openapi.models import Config
from alibabacloud_tea_util.models import RuntimeOptions
from Tea.exceptions import TeaException

import dingtalk_token


def search(client: Client, word: str, token: str):
    request = SearchUserRequest(query_word=word, offset=0, size=10)
    headers = SearchUserHeaders(x_acs_dingtalk_access_token=token)
    try:
        return client.search_user_with_options(request, headers, RuntimeOptions()).body
    except TeaException as error:
        if error.code == "InvalidAuthentication":
            raise dingtalk_token.TokenRefused(error.code) from None
        raise


def main(word, corp_id=None):
    api = urllib.parse.urlsplit(os.environ.get("DINGTALK_API", "https://api.dingtalk.com"))
    client = Client(Config(protocol=api.scheme, endpoint=api.netloc, region_id="central"))
    found = dingtalk_token.with_token(
        lambda token: search(client, word, token),
        corp_id,
        folder=os.environ.get("DINGTALK_TOKENS", dingtalk_token.FOLDER),
        patience=float(os.environ.get("DINGTALK_PATIENCE", dingtalk_token.PATIENCE_SECONDS)),
    )
    print(found.list)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except dingtalk_token.TokenRefused as error:
        sys.exit(str(error))
    except TeaException as error:
        # The code alone: the message may repeat the token.
        sys.exit(f"DingTalk answered {error.code}")
