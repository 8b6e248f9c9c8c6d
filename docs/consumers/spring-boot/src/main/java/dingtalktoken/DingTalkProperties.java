package dingtalktoken;

import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.convert.DurationUnit;

/**
 * @param api the base URL
 * @param tokens where the Secret is mounted
 * @param patience how long to wait for another token when DingTalk refuses one
 */
@ConfigurationProperties("dingtalk")
public record DingTalkProperties(URI api, Path tokens, @DurationUnit(ChronoUnit.SECONDS) Duration patience) {}
