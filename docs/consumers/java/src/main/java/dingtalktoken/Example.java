package dingtalktoken;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.net.URI;
import java.net.http.HttpClient;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/** Calls an API: METHOD PATH [CORP_ID], with the body on standard input. */
public final class Example {
    private Example() {}

    public static void main(String[] arguments) throws Exception {
        try {
            String body = new String(System.in.readAllBytes(), UTF_8);
            String corpId = arguments.length > 2 ? arguments[2] : null;
            URI uri = URI.create(
                    System.getenv().getOrDefault("DINGTALK_API", "https://api.dingtalk.com") + arguments[1]);
            System.out.println(dingTalk(corpId).call(arguments[0], uri, body.isEmpty() ? null : body));
        } catch (java.io.IOException | IllegalArgumentException failure) {
            System.err.println(failure.getMessage());
            System.exit(1);
        }
    }

    static DingTalkToken dingTalk(String corpId) {
        Map<String, String> environment = System.getenv();
        Path folder = Path.of(environment.getOrDefault("DINGTALK_TOKENS", DingTalkToken.FOLDER.toString()));
        String patience = environment.get("DINGTALK_PATIENCE");
        return new DingTalkToken(
                HttpClient.newHttpClient(),
                folder,
                corpId,
                patience == null ? DingTalkToken.PATIENCE : Duration.ofSeconds(Long.parseLong(patience)));
    }
}
