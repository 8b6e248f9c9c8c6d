// The consumer of the end-to-end test. It calls the API twice a second with the token in the file, and prints the
// number of calls and refusals, and how long the token was refused.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	dingtalktoken "dingtalk-token-operator.github.io/docs/consumers/go"
)

func main() {
	authorities := x509.NewCertPool()
	bundle, err := os.ReadFile(os.Getenv("CA_FILE"))
	if err != nil || !authorities.AppendCertsFromPEM(bundle) {
		fmt.Println("no CA:", err)
		os.Exit(1)
	}
	// Without patience, so that each refusal is seen.
	client := &dingtalktoken.Client{Patience: -1, HTTP: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: authorities},
	}}}
	var calls, refusals, gap int
	var since time.Time
	for ; ; time.Sleep(500 * time.Millisecond) {
		_, err := client.Call(context.Background(), http.MethodGet, os.Getenv("API_URL"), nil)
		calls++
		if errors.Is(err, dingtalktoken.ErrRefused) {
			refusals++
			if gap++; gap == 1 {
				since = time.Now()
			}
		} else if err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		} else if gap > 0 {
			fmt.Printf("gap %.1f\n", time.Since(since).Seconds())
			gap = 0
		}
		fmt.Printf("calls %d refused %d\n", calls, refusals)
	}
}
