package dingtalktoken;

import org.springframework.web.client.RestClientException;

/** DingTalk refused the token, and no other came in time. */
public class TokenRefusedException extends RestClientException {
    private static final long serialVersionUID = 1;

    public TokenRefusedException(String message) {
        super(message);
    }
}
