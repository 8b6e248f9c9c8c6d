package dingtalktoken;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.springframework.boot.CommandLineRunner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.http.HttpMethod;
import org.springframework.http.MediaType;
import org.springframework.stereotype.Component;
import org.springframework.web.client.RestClient;
import org.springframework.web.client.RestClientException;

/** Calls an API: METHOD PATH [CORP_ID], with the body on standard input. */
@SpringBootApplication
public class ExampleApplication {
    public static void main(String[] arguments) {
        SpringApplication.run(ExampleApplication.class, arguments);
    }

    @Component
    static class Example implements CommandLineRunner {
        private final RestClient dingTalk;

        Example(RestClient dingTalk) {
            this.dingTalk = dingTalk;
        }

        @Override
        public void run(String... arguments) throws Exception {
            RestClient.RequestBodySpec request =
                    dingTalk.method(HttpMethod.valueOf(arguments[0])).uri(arguments[1]);
            if (arguments.length > 2) {
                request.attribute(DingTalkTokenInterceptor.CORP_ID, arguments[2]);
            }
            String body = new String(System.in.readAllBytes(), UTF_8);
            if (!body.isEmpty()) {
                request.contentType(MediaType.APPLICATION_JSON).body(body.getBytes(UTF_8));
            }
            try {
                System.out.println(request.retrieve().body(String.class));
            } catch (RestClientException | IllegalArgumentException failure) {
                System.err.println(failure.getMessage());
                System.exit(1);
            }
        }
    }
}
