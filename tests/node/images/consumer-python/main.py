"""The consumer of the end-to-end test in Python; see ../consumer-go/main.go."""

import os
import ssl
import time

import dingtalk_token

context = ssl.create_default_context(cafile=os.environ["CA_FILE"])
calls = refusals = 0
since = None
while True:
    try:
        calls += 1
        # Without patience, so that each refusal is seen.
        dingtalk_token.call("GET", os.environ["API_URL"], patience=0, context=context)
        if since is not None:
            print(f"gap {time.monotonic() - since:.1f}", flush=True)
            since = None
    except dingtalk_token.TokenRefused:
        refusals += 1
        since = since or time.monotonic()
    print(f"calls {calls} refused {refusals}", flush=True)
    time.sleep(0.5)
