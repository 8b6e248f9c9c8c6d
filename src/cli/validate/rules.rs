//! Evaluates the validation rules (`x-kubernetes-validations`) of a CustomResourceDefinition.

use std::collections::BTreeMap;

use cel::{Context, Program, Value as CelValue};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, ValidationRule,
};
use kube::core::Duration as GoDuration;
use serde_json::Value;
use thiserror::Error;

use super::schema::{Fault, field, items, property};

/// A validation rule cannot be used.
#[derive(Debug, Error)]
pub(crate) enum RuleError {
    #[error("cannot parse the rule {rule:?}: {source}")]
    Parse {
        rule: String,
        source: Box<cel::ParseErrors>,
    },
    #[error("cannot add the function duration: {0}")]
    Function(String),
}

/// The parsed rules of a schema.
pub(crate) struct Rules(BTreeMap<String, Program>);

impl Rules {
    /// Parses the rules of a schema.
    pub(crate) fn of(schema: &JSONSchemaProps) -> Result<Self, RuleError> {
        let mut rules = Self(BTreeMap::new());
        rules.add(schema)?;
        Ok(rules)
    }

    fn add(&mut self, schema: &JSONSchemaProps) -> Result<(), RuleError> {
        for ValidationRule { rule, .. } in schema.x_kubernetes_validations.iter().flatten() {
            let program = Program::compile(rule).map_err(|source| RuleError::Parse {
                rule: rule.clone(),
                source: Box::new(source),
            })?;
            self.0.insert(rule.clone(), program);
        }
        for property in schema.properties.iter().flatten().map(|(_, it)| it) {
            self.add(property)?;
        }
        match items(schema) {
            Some(items) => self.add(items),
            None => Ok(()),
        }
    }

    /// Returns the violations of the rules by a value. Skips the rules of fields that are or contain one of
    /// the `blocked` fields.
    pub(crate) fn faults(
        &self,
        value: &Value,
        schema: &JSONSchemaProps,
        path: &str,
        blocked: &[&str],
    ) -> Result<Vec<Fault>, RuleError> {
        let mut faults = Vec::new();
        if !blocked.iter().any(|blocked| is_within(blocked, path)) {
            for rule in schema.x_kubernetes_validations.iter().flatten() {
                faults.extend(self.fault(value, rule, path)?);
            }
        }
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    if let Some(property) = property(schema, name) {
                        faults.extend(self.faults(value, property, &field(path, name), blocked)?);
                    }
                }
            }
            Value::Array(list) => {
                for (index, item) in list.iter().enumerate() {
                    if let Some(items) = items(schema) {
                        faults.extend(self.faults(
                            item,
                            items,
                            &format!("{path}[{index}]"),
                            blocked,
                        )?);
                    }
                }
            }
            _ => {}
        }
        Ok(faults)
    }

    fn fault(
        &self,
        value: &Value,
        rule: &ValidationRule,
        path: &str,
    ) -> Result<Option<Fault>, RuleError> {
        let Some(program) = self.0.get(&rule.rule) else {
            return Ok(None);
        };
        // Rules about changes do not apply to new objects.
        if program.references().has_variable("oldSelf") {
            return Ok(None);
        }
        let message = rule
            .message
            .clone()
            .unwrap_or_else(|| format!("failed rule: {}", rule.rule));
        Ok(match holds(program, value)? {
            Ok(true) => None,
            Ok(false) => Some(Fault::new(path, message)),
            Err(error) => Some(Fault::new(path, format!("{message} ({error})"))),
        })
    }
}

/// Whether the field `inner` is the field `outer` or inside it.
fn is_within(inner: &str, outer: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Returns whether a value satisfies a rule, or why the rule cannot be evaluated.
fn holds(program: &Program, value: &Value) -> Result<Result<bool, String>, RuleError> {
    let mut context = Context::default();
    context
        .add_function("duration", nanoseconds)
        .map_err(|error| RuleError::Function(error.to_string()))?;
    if let Err(error) = context.add_variable("self", value) {
        return Ok(Err(error.to_string()));
    }
    Ok(match program.execute(&context) {
        Ok(CelValue::Bool(holds)) => Ok(holds),
        Ok(other) => Err(format!("the rule returns {other:?}")),
        Err(error) => Err(error.to_string()),
    })
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
