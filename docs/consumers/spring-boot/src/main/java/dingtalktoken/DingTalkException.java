package dingtalktoken;

import org.springframework.web.client.RestClientException;

/** An error that DingTalk answered, other than a refused token. */
public class DingTalkException extends RestClientException {
    private static final long serialVersionUID = 1;

    private final int status;
    private final String code;

    public DingTalkException(int status, String code, String message) {
        super("DingTalk answered HTTP " + status + ", code \"" + code + "\": " + message);
        this.status = status;
        this.code = code;
    }

    public int status() {
        return status;
    }

    public String code() {
        return code;
    }
}
