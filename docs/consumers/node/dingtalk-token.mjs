// Calls DingTalk's APIs with the access token that dingtalk-token-operator keeps in a mounted Secret.
// No dependencies; Node.js 20.3 or later.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Where the Secret is mounted. */
export const FOLDER = "/var/run/secrets/dingtalk";
/** Above the 90 seconds within which the kubelet updates a mounted Secret; in milliseconds. */
export const PATIENCE = 120_000;
const INTERVAL = 1000;

/** DingTalk refused the token: it has expired or was replaced. */
export class TokenRefused extends Error {}

/** An error that DingTalk answered, other than a refused token. */
export class DingTalkError extends Error {
  constructor(status, code, message) {
    super(`DingTalk answered HTTP ${status}, code "${code}": ${message}`);
    this.status = status;
    this.code = code;
  }
}

/**
 * Returns the token to send now. Read it for each request: the file is small and in memory.
 *
 * corpId is for the layouts Combined and PerCorp, with each Secret of PerCorp mounted in a folder named
 * after its corpId.
 */
export async function token({ corpId, folder = FOLDER } = {}) {
  if (corpId !== undefined && !/^[A-Za-z0-9_-]{1,64}$/.test(corpId)) {
    throw new Error("invalid corpId");
  }
  const names = corpId === undefined ? ["access_token"] : [`${corpId}.access_token`, `${corpId}/access_token`];
  for (const file of names.map((name) => join(folder, name))) {
    let content;
    try {
      content = (await readFile(file, "utf8")).trim();
    } catch (error) {
      if (error.code === "ENOENT") continue;
      throw error;
    }
    if (!/^[!-~]+$/.test(content)) throw new Error(`no token in ${file}`);
    return content;
  }
  throw new Error(`${folder}: neither of these files: ${names.join(", ")}`);
}

/**
 * Returns send(token). While that throws TokenRefused, waits for another token in the file and calls send
 * again, until the patience ends.
 */
export async function withToken(send, { corpId, folder, patience = PATIENCE, signal } = {}) {
  const deadline = performance.now() + patience;
  for (;;) {
    const used = await token({ corpId, folder });
    try {
      return await send(used);
    } catch (error) {
      if (!(error instanceof TokenRefused)) throw error;
    }
    while ((await token({ corpId, folder })) === used) {
      if (performance.now() >= deadline) {
        throw new TokenRefused(
          `DingTalk refused the access token, and no other came within ${patience / 1000} s`,
        );
      }
      await sleep(INTERVAL, undefined, { signal });
    }
  }
}

/**
 * Calls an API, again with a fresh token if need be, and returns its parsed JSON.
 *
 * The body is anything that JSON.stringify takes. The token is sent as the kind of API wants it: in a
 * header to /v1.0/… of api.dingtalk.com, in the query to the older APIs of oapi.dingtalk.com.
 */
export function call(method, url, body, options = {}) {
  return withToken((used) => send(method, new URL(url), body, used, options.signal), options);
}

async function send(method, url, body, used, signal) {
  const { host, pathname } = url;
  const headers = {};
  if (/^\/v[0-9]/.test(pathname)) headers["x-acs-dingtalk-access-token"] = used;
  else url.searchParams.set("access_token", used);
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const timeout = AbortSignal.timeout(10_000);
  let response;
  let text;
  try {
    response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    text = await response.text();
  } catch (error) {
    throw new Error(`${method} ${host}${pathname}: ${error.cause?.message ?? error.message}`);
  }
  return judged(response.status, text, used);
}

/**
 * Returns the answer, or throws the error in it. The older APIs answer HTTP 200 with an errcode that is
 * not 0, some of them 88 with the code in sub_code.
 */
function judged(status, text, used) {
  let answer;
  try {
    answer = text === "" ? undefined : JSON.parse(text);
  } catch {
    throw new DingTalkError(status, "", "no JSON");
  }
  const fields = answer ?? {};
  const errcode = String(fields.errcode ?? 0);
  if (status < 400 && errcode === "0") return answer;
  const code = String((status < 400 ? fields.sub_code || errcode : fields.code) ?? "");
  if (["InvalidAuthentication", "40014", "42001"].includes(code)) {
    throw new TokenRefused("DingTalk refused the access token");
  }
  const message = String(fields.message ?? fields.errmsg ?? "");
  throw new DingTalkError(status, code, message.replaceAll(used, "***"));
}
