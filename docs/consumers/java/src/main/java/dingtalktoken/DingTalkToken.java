package dingtalktoken;

import static java.net.URLEncoder.encode;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Set;

/** Calls DingTalk's APIs with the access token that dingtalk-token-operator keeps in a mounted Secret. */
public final class DingTalkToken {
    /** Where the Secret is mounted. */
    public static final Path FOLDER = Path.of("/var/run/secrets/dingtalk");

    /** Above the 90 seconds within which the kubelet updates a mounted Secret. */
    public static final Duration PATIENCE = Duration.ofMinutes(2);

    private static final Duration INTERVAL = Duration.ofSeconds(1);
    private static final ObjectMapper JSON = new ObjectMapper();

    private final HttpClient client;
    private final Path folder;
    private final String corpId;
    private final Duration patience;

    /** For the layout Single. */
    public DingTalkToken() {
        this(HttpClient.newHttpClient(), FOLDER, null, PATIENCE);
    }

    /**
     * @param corpId for the layouts Combined and PerCorp, with each Secret of PerCorp mounted in a folder
     *     named after its corpId; otherwise null
     */
    public DingTalkToken(HttpClient client, Path folder, String corpId, Duration patience) {
        if (corpId != null && !corpId.matches("[A-Za-z0-9_-]{1,64}")) {
            throw new IllegalArgumentException("invalid corpId");
        }
        this.client = client;
        this.folder = folder;
        this.corpId = corpId;
        this.patience = patience;
    }

    /** The token to send now. Read it for each request: the file is small and in memory. */
    public String token() throws IOException {
        List<String> names =
                corpId == null ? List.of("access_token") : List.of(corpId + ".access_token", corpId + "/access_token");
        for (String name : names) {
            String token;
            try {
                token = Files.readString(folder.resolve(name)).strip();
            } catch (NoSuchFileException missing) {
                continue;
            }
            if (!token.matches("[!-~]+")) {
                throw new IOException("no token in " + folder.resolve(name));
            }
            return token;
        }
        throw new FileNotFoundException(folder + ": neither of these files: " + String.join(", ", names));
    }

    /** A request that is sent with a token. */
    @FunctionalInterface
    public interface Request<T> {
        T send(String token) throws IOException, InterruptedException;
    }

    /**
     * Sends a request. While it throws {@link TokenRefusedException}, waits for another token in the file
     * and sends it again, until the patience ends.
     */
    public <T> T withToken(Request<T> request) throws IOException, InterruptedException {
        long start = System.nanoTime();
        while (true) {
            String used = token();
            try {
                return request.send(used);
            } catch (TokenRefusedException refused) {
                while (token().equals(used)) {
                    if (System.nanoTime() - start >= patience.toNanos()) {
                        throw new TokenRefusedException(
                                "DingTalk refused the access token, and no other came within "
                                        + patience.toSeconds() + " s");
                    }
                    Thread.sleep(INTERVAL.toMillis());
                }
            }
        }
    }

    /**
     * Calls an API, again with a fresh token if need be, and returns the JSON of the response. The token is
     * sent as the kind of API wants it: in a header to /v1.0/… of api.dingtalk.com, in the query to the
     * older APIs of oapi.dingtalk.com.
     *
     * @param body JSON, or null
     */
    public String call(String method, URI uri, String body) throws IOException, InterruptedException {
        return withToken(token -> send(method, uri, body, token));
    }

    private String send(String method, URI uri, String body, String token) throws IOException, InterruptedException {
        boolean isCurrent = uri.getPath().matches("/v[0-9].*");
        String separator = uri.getRawQuery() == null ? "?" : "&";
        URI target = isCurrent ? uri : URI.create(uri + separator + "access_token=" + encode(token, UTF_8));
        HttpRequest.Builder request = HttpRequest.newBuilder(target).timeout(Duration.ofSeconds(10));
        if (isCurrent) {
            request.header("x-acs-dingtalk-access-token", token);
        }
        if (body != null) {
            request.header("Content-Type", "application/json");
        }
        request.method(method, body == null ? BodyPublishers.noBody() : BodyPublishers.ofString(body));
        HttpResponse<String> response;
        try {
            response = client.send(request.build(), BodyHandlers.ofString());
        } catch (IOException failure) {
            throw new IOException(method + " " + uri.getAuthority() + uri.getPath() + ": " + failure, failure);
        }
        judge(response.statusCode(), response.body(), token);
        return response.body();
    }

    /**
     * Throws the error in an answer. The older APIs answer HTTP 200 with an errcode that is not 0, some of
     * them 88 with the code in sub_code.
     */
    private static void judge(int status, String answer, String token) throws IOException {
        JsonNode fields;
        try {
            fields = JSON.readTree(answer);
        } catch (JsonProcessingException failure) {
            throw new DingTalkException(status, "", "no JSON");
        }
        String errcode = fields.path("errcode").asText("0");
        if (status < 400 && errcode.equals("0")) {
            return;
        }
        String code = status < 400 ? fields.path("sub_code").asText(errcode) : fields.path("code").asText();
        if (Set.of("InvalidAuthentication", "40014", "42001").contains(code)) {
            throw new TokenRefusedException("DingTalk refused the access token");
        }
        String message = fields.path("message").asText(fields.path("errmsg").asText());
        throw new DingTalkException(status, code, message.replace(token, "***"));
    }
}
