// The example calls an API: example METHOD PATH [CORP_ID], with the body on standard input.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"time"

	dingtalktoken "dingtalk-token-operator.github.io/docs/consumers/go"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) < 3 {
		return fmt.Errorf("usage: example METHOD PATH [CORP_ID]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	client := &dingtalktoken.Client{Folder: os.Getenv("DINGTALK_TOKENS")}
	if seconds, err := strconv.Atoi(os.Getenv("DINGTALK_PATIENCE")); err == nil {
		client.Patience = time.Duration(seconds) * time.Second
	}
	if len(os.Args) > 3 {
		client.CorpID = os.Args[3]
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	url := cmp.Or(os.Getenv("DINGTALK_API"), "https://api.dingtalk.com") + os.Args[2]
	answer, err := client.Call(ctx, os.Args[1], url, body)
	if err != nil {
		return err
	}
	fmt.Println(string(answer))
	return nil
}
