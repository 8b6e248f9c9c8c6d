// The access token that dingtalk-token-operator keeps in a mounted Secret.
//
// Read the file for each request: it is small, in memory, and always the newest. Node.js 18 or later.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

export const TOKEN_FILE = "/var/run/secrets/dingtalk/access_token";

// How long to wait for a renewed token to reach the file before a second try, in milliseconds.
export const PATIENCE = 2000;

/** The token to send now. The file has no newline at its end. */
export const token = (file = TOKEN_FILE) => readFile(file, "ascii");

/** Calls DingTalk's API. A token that is refused is tried once more as soon as the file has another. */
export async function call(url, { file = TOKEN_FILE, patience = PATIENCE } = {}) {
  const used = await token(file);
  const response = await get(url, used);
  if (!(await isInvalidAuthentication(response))) return response;
  const deadline = Date.now() + patience;
  while ((await token(file)) === used && Date.now() < deadline) await sleep(100);
  return get(url, await token(file));
}

/** Whether DingTalk does not accept the token: it has expired, or another took its place. */
export async function isInvalidAuthentication(response) {
  if (response.status !== 400) return false;
  const body = await response.clone().json().catch(() => ({}));
  return body.code === "InvalidAuthentication";
}

const get = (url, accessToken) =>
  fetch(url, {
    headers: { "x-acs-dingtalk-access-token": accessToken },
    signal: AbortSignal.timeout(10_000),
  });
