module dingtalk-token-operator.github.io/docs/consumers/go

go 1.24
