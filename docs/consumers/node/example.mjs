// Calls an API: example.mjs METHOD PATH [CORP_ID], with the body on standard input.
import { text } from "node:stream/consumers";
import { call, FOLDER, PATIENCE } from "./dingtalk-token.mjs";

const { DINGTALK_API = "https://api.dingtalk.com", DINGTALK_TOKENS = FOLDER, DINGTALK_PATIENCE } = process.env;
const [method, path, corpId] = process.argv.slice(2);

try {
  const body = await text(process.stdin);
  const answer = await call(method, DINGTALK_API + path, body === "" ? undefined : JSON.parse(body), {
    corpId,
    folder: DINGTALK_TOKENS,
    patience: DINGTALK_PATIENCE === undefined ? PATIENCE : Number(DINGTALK_PATIENCE) * 1000,
  });
  console.log(JSON.stringify(answer));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
