package dingtalktoken;

import com.aliyun.dingtalkcontact_1_0.Client;
import com.aliyun.dingtalkcontact_1_0.models.SearchUserHeaders;
import com.aliyun.dingtalkcontact_1_0.models.SearchUserRequest;
import com.aliyun.dingtalkcontact_1_0.models.SearchUserResponseBody;
import com.aliyun.tea.TeaException;
import com.aliyun.teaopenapi.models.Config;
import com.aliyun.teautil.models.RuntimeOptions;
import java.io.IOException;
import java.net.URI;

/** Searches users with DingTalk's official SDK: WORD [CORP_ID]. */
public final class SdkExample {
    private SdkExample() {}

    public static void main(String[] arguments) throws Exception {
        URI api = URI.create(System.getenv().getOrDefault("DINGTALK_API", "https://api.dingtalk.com"));
        Config config = new Config();
        config.protocol = api.getScheme();
        config.endpoint = api.getAuthority();
        config.regionId = "central";
        Client client = new Client(config);
        String corpId = arguments.length > 1 ? arguments[1] : null;
        try {
            SearchUserResponseBody found =
                    Example.dingTalk(corpId).withToken(token -> search(client, arguments[0], token));
            System.out.println(found.list);
        } catch (IOException failure) {
            System.err.println(failure.getMessage());
            System.exit(1);
        }
    }

    private static SearchUserResponseBody search(Client client, String word, String token) throws IOException {
        SearchUserRequest request = new SearchUserRequest().setQueryWord(word).setOffset(0).setSize(10);
        SearchUserHeaders headers = new SearchUserHeaders().setXAcsDingtalkAccessToken(token);
        try {
            return client.searchUserWithOptions(request, headers, new RuntimeOptions()).body;
        } catch (TeaException failure) {
            if ("InvalidAuthentication".equals(failure.getCode())) {
                throw new TokenRefusedException("DingTalk refused the access token");
            }
            // The code alone: the message may repeat the token.
            throw new IOException("DingTalk answered " + failure.getCode());
        } catch (Exception failure) {
            throw new IOException(failure);
        }
    }
}
