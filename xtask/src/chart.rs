//! The Helm chart: copies of the files that its templates read, and the documentation of its values. The templates
//! are written by hand; `tests/cluster/manifests` compares their output with the other manifests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde_yaml_ng::{Mapping, Value};

use crate::{Failure, root};

/// The folder of the chart.
pub const CHART: &str = "deploy/helm/dingtalk-token-operator";
/// Maximum length of a default that the table shows.
const LONGEST_DEFAULT: usize = 60;

/// A value with a comment.
#[derive(Debug, PartialEq)]
struct Documented {
    /// Path, such as `image.tag`.
    path: String,
    description: String,
    default: Value,
}

/// Returns the files that the templates read, by their paths in the chart. Helm reads no files outside of it.
pub fn copies(
    crds: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut copies: BTreeMap<String, String> = crds
        .into_iter()
        .map(|(name, yaml)| (format!("files/crds/{name}.yaml"), yaml))
        .collect();
    for (copy, source) in [
        ("files/dashboard.json", "dingtalk-token-operator.json"),
        ("files/prometheus-rule.yaml", "prometheus-rule.yaml"),
    ] {
        let source = root().join("deploy/monitoring").join(source);
        copies.insert(copy.to_owned(), fs::read_to_string(source)?);
    }
    for folder in ["files", "files/crds"] {
        for entry in fs::read_dir(root().join(CHART).join(folder))?.flatten() {
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_file() && !copies.contains_key(&path) {
                return Err(format!("{CHART}/{path} is not a copy of any file: remove it").into());
            }
        }
    }
    Ok(copies)
}

/// Checks that the chart has this workspace's version.
pub fn check_version(version: &str) -> Result<(), Failure> {
    let chart = read("Chart.yaml")?;
    for line in [
        format!("\nversion: {version}\n"),
        format!("\nappVersion: v{version}\n"),
    ] {
        if !chart.contains(&line) {
            return Err(format!("{CHART}/Chart.yaml lacks the line {}", line.trim()).into());
        }
    }
    Ok(())
}

/// Returns the table of values for the chart's README, and the schema of values with descriptions.
pub fn described_values() -> Result<(String, String), Failure> {
    let values = documented(&read("values.yaml")?)?;
    let mut schema = serde_yaml_ng::from_str(&read("values.schema.json")?)?;
    let mut left: BTreeMap<&str, &str> = values
        .iter()
        .map(|value| (value.path.as_str(), value.description.as_str()))
        .collect();
    describe(&mut schema, "", &mut left)?;
    if let Some(path) = left.keys().next() {
        return Err(format!("{CHART}/values.schema.json lacks {path}").into());
    }
    let schema = serde_json::to_string_pretty(&schema)? + "\n";
    Ok((table(&values)?, schema))
}

/// Returns the table of values for a chart's README.
pub(crate) fn table_of(values: &str) -> Result<String, Failure> {
    table(&documented(values)?)
}

fn read(name: &str) -> Result<String, Failure> {
    Ok(fs::read_to_string(root().join(CHART).join(name))?)
}

/// Returns the values with a comment directly above.
fn documented(yaml: &str) -> Result<Vec<Documented>, Failure> {
    let all: Value = serde_yaml_ng::from_str(yaml)?;
    let mut values = Vec::new();
    let mut keys: Vec<(usize, &str)> = Vec::new();
    let mut comment = String::new();
    for line in yaml.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(words) = text.strip_prefix("# ") {
            let space = if comment.is_empty() { "" } else { " " };
            comment = comment + space + words;
            continue;
        }
        let description = std::mem::take(&mut comment);
        let Some((key, _)) = text.split_once(':').filter(|_| !text.starts_with('-')) else {
            continue;
        };
        keys.retain(|(outer, _)| *outer < indent);
        keys.push((indent, key));
        if !description.is_empty() {
            let default = keys.iter().try_fold(&all, |value, (_, key)| value.get(key));
            values.push(Documented {
                path: keys
                    .iter()
                    .map(|(_, key)| *key)
                    .collect::<Vec<_>>()
                    .join("."),
                description,
                default: default.ok_or(format!("values.yaml: {line}"))?.clone(),
            });
        }
    }
    Ok(values)
}

/// Moves descriptions from `left` to their properties, as the first field.
fn describe(
    schema: &mut Value,
    path: &str,
    left: &mut BTreeMap<&str, &str>,
) -> Result<(), Failure> {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_mapping_mut) else {
        return Ok(());
    };
    for (name, property) in properties.iter_mut() {
        let name = name.as_str().unwrap_or_default();
        let path = match path {
            "" => name.to_owned(),
            _ => format!("{path}.{name}"),
        };
        describe(property, &path, left)?;
        let is_section = property["additionalProperties"] == Value::Bool(false);
        let description = left.remove(path.as_str());
        if description.is_none() && !is_section {
            return Err(format!("{CHART}/values.yaml has no comment for {path}").into());
        }
        let mut described = Mapping::new();
        if let Some(description) = description {
            described.insert("description".into(), description.into());
        }
        let fields = property.as_mapping().cloned().unwrap_or_default();
        let others = fields.into_iter().filter(|(key, _)| key != "description");
        described.extend(others);
        *property = Value::Mapping(described);
    }
    Ok(())
}

fn table(values: &[Documented]) -> Result<String, Failure> {
    let mut table = "| Value | Default | Description |\n|---|---|---|\n".to_owned();
    for value in values {
        let default = serde_json::to_string(&value.default)?;
        let default = match default.len() > LONGEST_DEFAULT {
            true => "see values.yaml".to_owned(),
            false => format!("`{default}`"),
        };
        let Documented {
            path, description, ..
        } = value;
        writeln!(table, "| `{path}` | {default} | {description} |")?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &str = "\
# About the file.

# How many.
replicas: 2
image:
  # Which one,
  # such as v1.
  tag: \"\"
# All of it.
resources:
  limits: {cpu: 1}
from:
  # Who.
  - a: 1
";

    #[test]
    fn a_comment_documents_the_value_below_it() {
        let values = documented(VALUES).expect("values");
        let found: Vec<_> = values
            .iter()
            .map(|value| (value.path.as_str(), value.description.as_str()))
            .collect();
        let expected = [
            ("replicas", "How many."),
            ("image.tag", "Which one, such as v1."),
            ("resources", "All of it."),
        ];
        assert_eq!(found, expected);
        let table = table(&values).expect("a table");
        assert!(
            table.contains("\n| `replicas` | `2` | How many. |\n"),
            "{table}"
        );
        assert!(table.contains("| `{\"limits\":{\"cpu\":1}}` |"), "{table}");
    }

    #[test]
    fn a_property_without_a_comment_is_refused_and_a_description_comes_first() {
        let schema = r#"{"properties": {"image": {"additionalProperties": false,
            "properties": {"tag": {"type": "string", "description": "old"}}}}}"#;
        let mut schema: Value = serde_yaml_ng::from_str(schema).expect("a schema");
        let mut left = BTreeMap::from([("image.tag", "new")]);
        describe(&mut schema, "", &mut left).expect("described");
        assert!(left.is_empty());
        let json = serde_json::to_string(&schema).expect("JSON");
        let tag = r#""tag":{"description":"new","type":"string"}"#;
        assert!(json.contains(tag), "{json}");
        let error = describe(&mut schema, "", &mut left).expect_err("refused");
        assert!(error.to_string().contains("image.tag"), "{error}");
    }
}
