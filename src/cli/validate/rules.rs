//! Evaluates the validation rules (`x-kubernetes-validations`) of a CustomResourceDefinition.

use std::collections::BTreeMap;

use cel::{Context, Program, Value as CelValue};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, ValidationRule,
};
use kube::core::Duration as GoDuration;
use serde_json::Value;

use super::schema::{Fault, children, items};
use crate::cli::error::{CliError, failed};

/// The parsed rules of a schema, by their text, without those about changes, which do not apply to new objects.
pub(super) struct Rules(BTreeMap<String, Program>);

impl Rules {
    pub(super) fn of(schema: &JSONSchemaProps) -> Result<Self, CliError> {
        let mut rules = Self(BTreeMap::new());
        rules.add(schema)?;
        Ok(rules)
    }

    fn add(&mut self, schema: &JSONSchemaProps) -> Result<(), CliError> {
        for ValidationRule { rule, .. } in schema.x_kubernetes_validations.iter().flatten() {
            let parsing = failed(format!("cannot parse the rule {rule:?}"));
            let program = Program::compile(rule).map_err(parsing)?;
            if !program.references().has_variable("oldSelf") {
                self.0.insert(rule.clone(), program);
            }
        }
        let properties = schema.properties.iter().flat_map(BTreeMap::values);
        for inner in properties.chain(items(schema)) {
            self.add(inner)?;
        }
        Ok(())
    }

    /// Returns the violations of the rules by a value. Skips the rules of fields that are or contain one of
    /// the `blocked` fields.
    pub(super) fn faults(
        &self,
        value: &Value,
        schema: &JSONSchemaProps,
        path: &str,
        blocked: &[&str],
    ) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !blocked.iter().any(|blocked| is_within(blocked, path)) {
            let rules = schema.x_kubernetes_validations.iter().flatten();
            faults.extend(rules.filter_map(|rule| self.fault(value, rule, path)));
        }
        for (path, value, schema) in children(value, schema, path) {
            faults.extend(self.faults(value, schema, &path, blocked));
        }
        faults
    }

    fn fault(&self, value: &Value, rule: &ValidationRule, path: &str) -> Option<Fault> {
        let holds = holds(self.0.get(&rule.rule)?, value);
        let message = rule
            .message
            .clone()
            .unwrap_or_else(|| format!("failed rule: {}", rule.rule));
        match holds {
            Ok(true) => None,
            Ok(false) => Some(Fault::new(path, message)),
            Err(error) => Some(Fault::new(path, format!("{message} ({error})"))),
        }
    }
}

/// Whether the field `inner` is the field `outer` or inside it.
fn is_within(inner: &str, outer: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Returns whether a value satisfies a rule, or why the rule cannot be evaluated.
fn holds(program: &Program, value: &Value) -> Result<bool, String> {
    let mut context = Context::default();
    context
        .add_function("duration", nanoseconds)
        .map_err(|error| error.to_string())?;
    context
        .add_variable("self", value)
        .map_err(|error| error.to_string())?;
    match program.execute(&context) {
        Ok(CelValue::Bool(holds)) => Ok(holds),
        Ok(other) => Err(format!("the rule returns {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the library passes values")]
/// CEL's function `duration`. Returns nanoseconds, which is sufficient for comparisons.
fn nanoseconds(text: std::sync::Arc<String>) -> Result<i64, cel::ExecutionError> {
    let refused = || cel::ExecutionError::function_error("duration", "not a duration");
    let duration: GoDuration = text.parse().map_err(|_| refused())?;
    let is_negative = duration.is_negative();
    let length = std::time::Duration::from(duration).as_nanos();
    let length = i64::try_from(length).map_err(|_| refused())?;
    Ok(if is_negative { -length } else { length })
}
