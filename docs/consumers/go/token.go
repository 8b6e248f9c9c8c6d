// Package dingtalktoken reads the access token that dingtalk-token-operator keeps in a mounted Secret.
//
// Read the file for each request: it is small, in memory, and always the newest.
package dingtalktoken

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// File is where the Secret is mounted, as a directory.
const File = "/var/run/secrets/dingtalk/access_token"

// Patience is how long to wait for a renewed token to reach the file before a second try.
const Patience = 2 * time.Second

// ErrInvalidAuthentication says that DingTalk does not accept the token: it has expired, or another
// took its place.
var ErrInvalidAuthentication = errors.New("DingTalk answered InvalidAuthentication")

// Token gives the token to send now. The file has no newline at its end.
func Token(file string) (string, error) {
	bytes, err := os.ReadFile(file)
	return string(bytes), err
}

// Call calls DingTalk's API. A token that is refused is tried once more as soon as the file has
// another.
func Call(client *http.Client, url, file string, patience time.Duration) ([]byte, error) {
	used, err := Token(file)
	if err != nil {
		return nil, err
	}
	body, err := get(client, url, used)
	if !errors.Is(err, ErrInvalidAuthentication) {
		return body, err
	}
	deadline := time.Now().Add(patience)
	now := used
	for now == used && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
		if now, err = Token(file); err != nil {
			return nil, err
		}
	}
	return get(client, url, now)
}

func get(client *http.Client, url, token string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("x-acs-dingtalk-access-token", token)
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode == http.StatusOK {
		return body, err
	}
	var refused struct{ Code string }
	_ = json.Unmarshal(body, &refused)
	if response.StatusCode == http.StatusBadRequest && refused.Code == "InvalidAuthentication" {
		return nil, ErrInvalidAuthentication
	}
	return nil, fmt.Errorf("DingTalk answered %s: %s", response.Status, body)
}
