// Package dingtalktoken calls DingTalk's APIs with the access token that dingtalk-token-operator keeps in
// a mounted Secret. It needs only the standard library.
package dingtalktoken

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	// Folder is where the Secret is mounted.
	Folder = "/var/run/secrets/dingtalk"
	// Patience is above the 90 s within which the kubelet updates a mounted Secret.
	Patience = 2 * time.Minute

	interval = time.Second
)

var (
	// ErrRefused means that DingTalk refused the token: it has expired or was replaced.
	ErrRefused = errors.New("DingTalk refused the access token")

	corpIDs    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	tokens     = regexp.MustCompile(`^[!-~]+$`)
	currentAPI = regexp.MustCompile(`^/v[0-9]`)
)

// Error is an error that DingTalk answered, other than a refused token.
type Error struct {
	Status        int
	Code, Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("DingTalk answered HTTP %d, code %q: %s", e.Status, e.Code, e.Message)
}

// Client calls DingTalk's APIs. Its zero value reads the layout Single from Folder.
type Client struct {
	HTTP     *http.Client  // default: a client with a time-out of 10 s
	Folder   string        // default: Folder
	CorpID   string        // for the layouts Combined and PerCorp
	Patience time.Duration // default: Patience; negative: none
}

// Token returns the token to send now. Read it for each request: the file is small and in memory.
func (c *Client) Token() (string, error) {
	folder, names := c.Folder, []string{"access_token"}
	if folder == "" {
		folder = Folder
	}
	if c.CorpID != "" {
		if !corpIDs.MatchString(c.CorpID) {
			return "", errors.New("invalid corpId")
		}
		// Combined, and PerCorp with each Secret mounted in a folder named after its corpId.
		names = []string{c.CorpID + ".access_token", filepath.Join(c.CorpID, "access_token")}
	}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		token := strings.TrimSpace(string(content))
		if !tokens.MatchString(token) {
			return "", fmt.Errorf("no token in %s", filepath.Join(folder, name))
		}
		return token, nil
	}
	return "", fmt.Errorf("%s: neither of these files: %s: %w", folder, strings.Join(names, ", "), os.ErrNotExist)
}

// Do calls send with the token. While send returns ErrRefused, it waits for another token in the file
// and calls send again, until its patience ends.
func (c *Client) Do(ctx context.Context, send func(token string) error) error {
	patience := c.Patience
	if patience == 0 {
		patience = Patience
	}
	deadline := time.Now().Add(patience)
	for {
		token, err := c.Token()
		if err != nil {
			return err
		}
		if err = send(token); !errors.Is(err, ErrRefused) {
			return err
		}
		if arrived, err := c.waitForOtherThan(ctx, token, deadline); err != nil {
			return err
		} else if !arrived {
			return fmt.Errorf("%w, and no other came within %v", ErrRefused, patience)
		}
	}
}

// waitForOtherThan returns whether another token than the refused one came before the deadline.
func (c *Client) waitForOtherThan(ctx context.Context, refused string, deadline time.Time) (bool, error) {
	for {
		if token, err := c.Token(); err != nil || token != refused {
			return true, err
		}
		if !time.Now().Before(deadline) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(interval):
		}
	}
}

// Call calls an API, again with a fresh token if need be, and returns the body of the response. The
// body may be nil. The token is sent as the kind of API wants it: in a header to /v1.0/… of
// api.dingtalk.com, in the query to the older APIs of oapi.dingtalk.com.
func (c *Client) Call(ctx context.Context, method, address string, body []byte) (answer []byte, err error) {
	err = c.Do(ctx, func(token string) error {
		answer, err = c.send(ctx, method, address, body, token)
		return err
	})
	return answer, err
}

func (c *Client) send(ctx context.Context, method, address string, body []byte, token string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if currentAPI.MatchString(request.URL.Path) {
		request.Header.Set("x-acs-dingtalk-access-token", token)
	} else {
		query := request.URL.Query()
		query.Set("access_token", token)
		request.URL.RawQuery = query.Encode()
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	client := c.HTTP
	if client == nil {
		client = &http.Client{Timeout: 10 * time.Second}
	}
	response, err := client.Do(request)
	if err != nil {
		// A url.Error shows the URL, which may contain the token.
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return nil, fmt.Errorf("%s %s%s: %w", method, request.URL.Host, request.URL.Path, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return answer, judge(response.StatusCode, answer, token)
}

// judge returns the error in an answer. The older APIs answer HTTP 200 with an errcode that is not 0,
// some of them 88 with the code in sub_code.
func judge(status int, answer []byte, token string) error {
	if len(answer) > 0 && !json.Valid(answer) {
		return &Error{Status: status, Message: "no JSON"}
	}
	var said struct {
		Code    string      `json:"code"`
		Message string      `json:"message"`
		ErrCode json.Number `json:"errcode"`
		ErrMsg  string      `json:"errmsg"`
		SubCode any         `json:"sub_code"`
	}
	decoder := json.NewDecoder(bytes.NewReader(answer))
	decoder.UseNumber()
	_ = decoder.Decode(&said)
	code, message := said.Code, said.Message
	if status < 400 {
		if said.ErrCode == "" || said.ErrCode == "0" {
			return nil
		}
		code, message = said.ErrCode.String(), said.ErrMsg
		if said.SubCode != nil && said.SubCode != "" {
			code = fmt.Sprint(said.SubCode)
		}
	}
	switch code {
	case "InvalidAuthentication", "40014", "42001":
		return ErrRefused
	}
	return &Error{Status: status, Code: code, Message: strings.ReplaceAll(message, token, "***")}
}
