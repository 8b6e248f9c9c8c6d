package dingtalktoken;

import java.io.IOException;

/** DingTalk refused the token: it has expired or was replaced. */
public final class TokenRefusedException extends IOException {
    private static final long serialVersionUID = 1;

    public TokenRefusedException(String message) {
        super(message);
    }
}
