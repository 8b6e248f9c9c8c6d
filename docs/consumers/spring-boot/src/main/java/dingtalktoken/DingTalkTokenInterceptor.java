package dingtalktoken;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpRequest;
import org.springframework.http.HttpStatusCode;
import org.springframework.http.client.ClientHttpRequestExecution;
import org.springframework.http.client.ClientHttpRequestInterceptor;
import org.springframework.http.client.ClientHttpResponse;
import org.springframework.http.client.support.HttpRequestWrapper;
import org.springframework.web.util.UriComponentsBuilder;
import org.springframework.web.util.UriUtils;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Sends each request with the access token that dingtalk-token-operator keeps in a mounted Secret, and
 * again with a fresh one while DingTalk refuses it. The token is sent as the kind of API wants it: in a
 * header to /v1.0/… of api.dingtalk.com, in the query to the older APIs of oapi.dingtalk.com.
 */
public class DingTalkTokenInterceptor implements ClientHttpRequestInterceptor {
    /**
     * The request's attribute for the layouts Combined and PerCorp, with each Secret of PerCorp mounted in
     * a folder named after its corpId.
     */
    public static final String CORP_ID = "dingtalk.corpId";

    private static final Duration INTERVAL = Duration.ofSeconds(1);

    private final Path folder;
    private final Duration patience;
    private final JsonMapper json;

    public DingTalkTokenInterceptor(Path folder, Duration patience, JsonMapper json) {
        this.folder = folder;
        this.patience = patience;
        this.json = json;
    }

    /** The token to send now. Read it for each request: the file is small and in memory. */
    public String token(Optional<String> corpId) throws IOException {
        if (corpId.isPresent() && !corpId.get().matches("[A-Za-z0-9_-]{1,64}")) {
            throw new IllegalArgumentException("invalid corpId");
        }
        List<String> names =
                corpId.map(id -> List.of(id + ".access_token", id + "/access_token")).orElse(List.of("access_token"));
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

    @Override
    public ClientHttpResponse intercept(HttpRequest request, byte[] body, ClientHttpRequestExecution execution)
            throws IOException {
        Optional<String> corpId = Optional.ofNullable((String) request.getAttributes().get(CORP_ID));
        long start = System.nanoTime();
        while (true) {
            String used = token(corpId);
            ClientHttpResponse response = execution.execute(withToken(request, used), body);
            Answer answer = new Answer(response, response.getBody().readAllBytes());
            if (!isRefused(answer, used)) {
                return answer;
            }
            response.close();
            while (token(corpId).equals(used)) {
                if (System.nanoTime() - start >= patience.toNanos()) {
                    throw new TokenRefusedException("DingTalk refused the access token, and no other came within "
                            + patience.toSeconds() + " s");
                }
                sleep();
            }
        }
    }

    private static HttpRequest withToken(HttpRequest request, String token) {
        HttpHeaders headers = new HttpHeaders();
        headers.addAll(request.getHeaders());
        boolean isCurrent = request.getURI().getPath().matches("/v[0-9].*");
        if (isCurrent) {
            headers.set("x-acs-dingtalk-access-token", token);
        }
        URI uri = isCurrent
                ? request.getURI()
                : UriComponentsBuilder.fromUri(request.getURI())
                        .queryParam("access_token", UriUtils.encode(token, UTF_8))
                        .build(true)
                        .toUri();
        return new HttpRequestWrapper(request) {
            @Override
            public URI getURI() {
                return uri;
            }

            @Override
            public HttpHeaders getHeaders() {
                return headers;
            }
        };
    }

    /**
     * Throws any other error in an answer. The older APIs answer HTTP 200 with an errcode that is not 0,
     * some of them 88 with the code in sub_code.
     */
    private boolean isRefused(Answer answer, String token) throws IOException {
        int status = answer.getStatusCode().value();
        JsonNode fields;
        try {
            fields = json.readTree(answer.content());
        } catch (JacksonException failure) {
            throw new DingTalkException(status, "", "no JSON");
        }
        String errcode = fields.path("errcode").asString("0");
        if (status < 400 && errcode.equals("0")) {
            return false;
        }
        String code = status < 400 ? fields.path("sub_code").asString(errcode) : fields.path("code").asString("");
        if (Set.of("InvalidAuthentication", "40014", "42001").contains(code)) {
            return true;
        }
        String message = fields.path("message").asString(fields.path("errmsg").asString(""));
        throw new DingTalkException(status, code, message.replace(token, "***"));
    }

    private static void sleep() throws InterruptedIOException {
        try {
            Thread.sleep(INTERVAL.toMillis());
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted while waiting for another token");
        }
    }

    /** A response whose body has been read. */
    private record Answer(ClientHttpResponse response, byte[] content) implements ClientHttpResponse {
        @Override
        public HttpStatusCode getStatusCode() throws IOException {
            return response.getStatusCode();
        }

        @Override
        public String getStatusText() throws IOException {
            return response.getStatusText();
        }

        @Override
        public HttpHeaders getHeaders() {
            return response.getHeaders();
        }

        @Override
        public InputStream getBody() {
            return new ByteArrayInputStream(content);
        }

        @Override
        public void close() {
            response.close();
        }
    }
}
