import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/**
 * The access token that dingtalk-token-operator keeps in a mounted Secret.
 *
 * <p>Read the file for each request: it is small, in memory, and always the newest. Java 11 or later.
 */
public final class DingTalkToken {
    public static final Path FILE = Path.of("/var/run/secrets/dingtalk/access_token");

    /** How long to wait for a renewed token to reach the file before a second try. */
    public static final Duration PATIENCE = Duration.ofSeconds(2);

    private DingTalkToken() {}

    /** The token to send now. The file has no newline at its end. */
    public static String token(Path file) throws IOException {
        return Files.readString(file);
    }

    /** Calls DingTalk's API. A token that is refused is tried once more as soon as the file has another. */
    public static HttpResponse<String> call(HttpClient client, URI url, Path file, Duration patience)
            throws IOException, InterruptedException {
        String used = token(file);
        HttpResponse<String> response = get(client, url, used);
        if (!isInvalidAuthentication(response)) {
            return response;
        }
        long deadline = System.nanoTime() + patience.toNanos();
        while (token(file).equals(used) && System.nanoTime() < deadline) {
            Thread.sleep(100);
        }
        return get(client, url, token(file));
    }

    /** Whether DingTalk does not accept the token: it has expired, or another took its place. */
    public static boolean isInvalidAuthentication(HttpResponse<String> response) {
        return response.statusCode() == 400 && response.body().contains("\"InvalidAuthentication\"");
    }

    private static HttpResponse<String> get(HttpClient client, URI url, String token)
            throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(url)
                .timeout(Duration.ofSeconds(10))
                .header("x-acs-dingtalk-access-token", token)
                .build();
        return client.send(request, HttpResponse.BodyHandlers.ofString());
    }
}
