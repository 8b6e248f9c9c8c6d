// Package flux has Flux's own code judge the statuses that the operator writes: kstatus, and the health checks
// of deploy/flux.
package flux

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	yamls "sigs.k8s.io/yaml"
)

const api = "dingtalk-token-operator.github.io/v1alpha1"

var kinds = []string{"DingTalkApp", "DingTalkTokenReference"}

type condition struct{ kind, status, reason string }

func object(kind string, observed int64, conditions ...condition) *unstructured.Unstructured {
	told := []any{}
	for _, one := range conditions {
		told = append(told, map[string]any{
			"type": one.kind, "status": one.status, "reason": one.reason, "message": one.reason,
		})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": api,
		"kind":       kind,
		"metadata":   map[string]any{"name": "payroll", "generation": int64(2)},
		"status":     map[string]any{"observedGeneration": observed, "conditions": told},
	}}
}

// The health checks of deploy/flux, as Flux reads them.
func readers(t *testing.T) []engine.StatusReader {
	t.Helper()
	text, err := os.ReadFile("../../deploy/flux/health-checks.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	if err := yamls.Unmarshal(text, &kustomization); err != nil {
		t.Fatal(err)
	}
	makers, err := cel.PollerWithCustomHealthChecks(context.Background(), kustomization.Spec.HealthCheckExprs)
	if err != nil {
		t.Fatal(err)
	}
	var readers []engine.StatusReader
	for _, maker := range makers {
		readers = append(readers, maker(meta.NewDefaultRESTMapper(nil)))
	}
	return readers
}

// By the health checks of deploy/flux.
func checked(t *testing.T, object *unstructured.Unstructured) status.Status {
	t.Helper()
	for _, reader := range readers(t) {
		if reader.Supports(object.GroupVersionKind().GroupKind()) {
			result, err := reader.ReadStatusForObject(context.Background(), nil, object)
			if err != nil {
				t.Fatal(err)
			}
			return result.Status
		}
	}
	t.Fatalf("no health check of a %s", object.GetKind())
	return ""
}

// By kstatus alone.
func computed(t *testing.T, object *unstructured.Unstructured) status.Status {
	t.Helper()
	result, err := status.Compute(object)
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

func expect(t *testing.T, what string, object *unstructured.Unstructured, expected status.Status) {
	t.Helper()
	if found := computed(t, object); found != expected {
		t.Errorf("%s, %s: kstatus says %s, not %s", object.GetKind(), what, found, expected)
	}
	if found := checked(t, object); found != expected {
		t.Errorf("%s, %s: the health check says %s, not %s", object.GetKind(), what, found, expected)
	}
}

func TestConditions(t *testing.T) {
	valid := condition{"Ready", "True", "TokensValid"}
	for _, kind := range kinds {
		expect(t, "valid", object(kind, 2, valid), status.CurrentStatus)
		expect(t, "of a former spec", object(kind, 1, valid), status.InProgressStatus)
		expect(t, "pending", object(kind, 2, condition{"Ready", "Unknown", "Pending"}), status.InProgressStatus)
		expect(t, "throttled beside a valid token", object(kind, 2,
			condition{"Ready", "True", "RenewalFailing"}, condition{"Renewed", "False", "Throttled"}),
			status.CurrentStatus)
		expect(t, "no token, but it is tried again", object(kind, 2,
			condition{"Ready", "False", "Throttled"}), status.InProgressStatus)
		expect(t, "stalled", object(kind, 2,
			condition{"Ready", "False", "InvalidCredentials"},
			condition{"Stalled", "True", "InvalidCredentials"}), status.FailedStatus)
		expect(t, "stalled beside a valid token", object(kind, 2,
			condition{"Ready", "True", "RenewalFailing"},
			condition{"Stalled", "True", "InvalidCredentials"}), status.FailedStatus)
		expect(t, "of a newer version", object(kind, 2,
			condition{"Ready", "False", "UnsupportedSpec"},
			condition{"Stalled", "True", "UnsupportedSpec"}), status.FailedStatus)
		expect(t, "suspended with a valid token", object(kind, 2,
			valid, condition{"Renewed", "Unknown", "Suspended"}), status.CurrentStatus)
		expect(t, "suspended before the first token", object(kind, 2,
			condition{"Ready", "Unknown", "Pending"}, condition{"Renewed", "Unknown", "Suspended"}),
			status.InProgressStatus)
	}
}

// For kstatus alone: the health checks do not look at it.
func TestDeletion(t *testing.T) {
	for _, kind := range kinds {
		deleted := object(kind, 2, condition{"Ready", "True", "TokensValid"})
		deleted.Object["metadata"].(map[string]any)["deletionTimestamp"] = "2027-01-01T00:00:00Z"
		if found := computed(t, deleted); found != status.TerminatingStatus {
			t.Errorf("%s: %s", kind, found)
		}
	}
}

// kstatus alone takes an object without a status for current. With the checks Flux waits: it neither
// fails nor goes on.
func TestNotYetLookedAt(t *testing.T) {
	for _, kind := range kinds {
		created := object(kind, 2)
		delete(created.Object, "status")
		if found := computed(t, created); found != status.CurrentStatus {
			t.Errorf("%s: kstatus says %s: deploy/flux is no longer needed for this", kind, found)
		}
		if found := checked(t, created); found != status.UnknownStatus {
			t.Errorf("%s: the health check says %s", kind, found)
		}
	}
}

// What each object says of itself decides: Stalled fails, and Ready alone is current.
func TestGolden(t *testing.T) {
	files, _ := filepath.Glob("../golden/v1/*.yaml")
	count := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
		for {
			var raw json.RawMessage
			if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(file, err)
			}
			object := &unstructured.Unstructured{}
			if err := object.UnmarshalJSON(raw); err != nil {
				t.Fatal(file, err)
			}
			if object.GetAPIVersion() != api {
				continue
			}
			expect(t, file+" "+object.GetName(), object, golden[object.GetName()])
			count++
		}
	}
	if count != len(golden) {
		t.Errorf("%d objects, not %d", count, len(golden))
	}
}

// By name, as tests/golden has them.
var golden = map[string]status.Status{
	"combined": status.CurrentStatus,
	"copied":   status.CurrentStatus,
	"copy":     status.CurrentStatus,
	"per-corp": status.CurrentStatus,
	"renamed":  status.CurrentStatus,
	"single":   status.CurrentStatus,
	"banned":   status.InProgressStatus,
	"quota":    status.InProgressStatus,
	// A valid token beside a renewal that fails.
	"throttled": status.CurrentStatus,
	"refused":   status.CurrentStatus,
	"late":      status.CurrentStatus,
	"template":  status.CurrentStatus,
}
