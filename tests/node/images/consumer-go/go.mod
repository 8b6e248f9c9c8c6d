module dingtalk-token-operator.github.io/tests/node/consumer

go 1.24

require dingtalk-token-operator.github.io/docs/consumers/go v0.0.0

replace dingtalk-token-operator.github.io/docs/consumers/go => ../../../../docs/consumers/go
