package dingtalktoken;

import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.web.client.RestClient;
import tools.jackson.databind.json.JsonMapper;

@Configuration
@EnableConfigurationProperties(DingTalkProperties.class)
public class DingTalkConfiguration {
    @Bean
    RestClient dingTalk(RestClient.Builder builder, DingTalkProperties properties, JsonMapper json) {
        return builder
                .baseUrl(properties.api().toString())
                .requestInterceptor(new DingTalkTokenInterceptor(properties.tokens(), properties.patience(), json))
                .build();
    }
}
