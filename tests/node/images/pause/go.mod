module dingtalk-token-operator.github.io/tests/node/pause

go 1.24
