// Searches users with DingTalk's official SDK: sdk-example.mjs WORD [CORP_ID].
import contact from "@alicloud/dingtalk/contact_1_0.js";
import openapi from "@alicloud/openapi-client";
import util from "@alicloud/tea-util";
import { FOLDER, PATIENCE, TokenRefused, withToken } from "./dingtalk-token.mjs";

const { DINGTALK_API = "https://api.dingtalk.com", DINGTALK_TOKENS = FOLDER, DINGTALK_PATIENCE } = process.env;
const [word, corpId] = process.argv.slice(2);
const api = new URL(DINGTALK_API);
const client = new contact.default(
  new openapi.Config({ protocol: api.protocol.replace(":", ""), endpoint: api.host, regionId: "central" }),
);

async function search(token) {
  const request = new contact.SearchUserRequest({ queryWord: word, offset: 0, size: 10 });
  const headers = new contact.SearchUserHeaders({ xAcsDingtalkAccessToken: token });
  try {
    return (await client.searchUserWithOptions(request, headers, new util.RuntimeOptions({}))).body;
  } catch (error) {
    if (error.code === "InvalidAuthentication") throw new TokenRefused(error.code);
    // The code alone: the message may repeat the token.
    throw new Error(`DingTalk answered ${error.code}`);
  }
}

try {
  const found = await withToken(search, {
    corpId,
    folder: DINGTALK_TOKENS,
    patience: DINGTALK_PATIENCE === undefined ? PATIENCE : Number(DINGTALK_PATIENCE) * 1000,
  });
  console.log(found.list);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
