//! Checks of examples in the documentation: the commands, and the fields of manifests, must exist.

use std::path::Path;

use dingtalk_token_operator::api::definitions;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde::Deserialize as _;
use serde_json::Value;

use super::commands::wrong_command;
use xtask::Failure;
use xtask::layout::texts_with_commands;

/// Returns what is wrong with the examples.
pub(super) fn wrong_examples(root: &Path) -> Result<Vec<String>, Failure> {
    let kinds = kinds()?;
    let mut problems = Vec::new();
    for (path, text) in texts_with_commands(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path).display();
        let wrong = examples(&text)
            .into_iter()
            .filter_map(|it| it.wrong(root, &kinds));
        problems.extend(wrong.map(|problem| format!("{name}: {problem}")));
    }
    Ok(problems)
}

/// One of our kinds, and its schema.
struct Kind {
    name: String,
    schema: Value,
}

fn kinds() -> Result<Vec<Kind>, serde_json::Error> {
    let mut kinds = Vec::new();
    for definition in definitions() {
        let definition = serde_json::to_value(definition)?;
        kinds.push(Kind {
            name: definition["spec"]["names"]["kind"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            schema: definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone(),
        });
    }
    Ok(kinds)
}

#[derive(Debug, PartialEq)]
enum Example {
    Command(String),
    Manifests(String),
}

impl Example {
    fn wrong(&self, root: &Path, kinds: &[Kind]) -> Option<String> {
        match self {
            Self::Command(command) => wrong_command(root, command),
            Self::Manifests(yaml) => {
                let documents = serde_yaml_ng::Deserializer::from_str(yaml);
                let documents: Result<Vec<Value>, _> = documents.map(Value::deserialize).collect();
                match documents {
                    Ok(documents) => documents.iter().find_map(|it| wrong_manifest(it, kinds)),
                    // Parts of a manifest, with different indentation.
                    Err(_) if yaml.starts_with(' ') => None,
                    Err(error) => Some(format!("not YAML, {error}:\n{yaml}")),
                }
            }
        }
    }
}

/// Returns the examples of a page: its code blocks, and the commands in its text.
fn examples(text: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut block: Option<(String, String)> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                block = Some((language.into_string(), String::new()));
            }
            Event::Text(text) => {
                if let Some((_, code)) = &mut block {
                    code.push_str(&text);
                }
            }
            Event::Code(code) => examples.push(Example::Command(code.into_string())),
            Event::End(TagEnd::CodeBlock) => {
                let (language, code) = block.take().unwrap_or_default();
                examples.extend(of_block(&language, &code));
            }
            _ => {}
        }
    }
    examples
}

fn of_block(language: &str, code: &str) -> Vec<Example> {
    // A command continues after a backslash.
    let code = code.replace("\\\n", " ");
    let commands = code.lines().filter_map(|line| match language {
        "console" => line.strip_prefix("$ "),
        "sh" => Some(line),
        _ => None,
    });
    let commands = commands.map(|line| Example::Command(line.to_owned()));
    match language {
        "yaml" => vec![Example::Manifests(code)],
        _ => commands.collect(),
    }
}

/// Returns an unknown field of a manifest, or a missing one. A part of a manifest begins with `spec` or `target`.
fn wrong_manifest(manifest: &Value, kinds: &[Kind]) -> Option<String> {
    let kind = manifest["kind"].as_str();
    if let Some(kind) = kinds.iter().find(|it| Some(it.name.as_str()) == kind) {
        return wrong_fields(&kind.name, manifest, &kind.schema, true);
    }
    let wrong = |schema: fn(&Kind) -> &Value| {
        let problems = kinds.iter();
        let problems = problems.map(|kind| wrong_fields("", manifest, schema(kind), false));
        // It is enough if one kind has all fields.
        problems
            .collect::<Option<Vec<String>>>()?
            .into_iter()
            .next()
    };
    match manifest.as_object().and_then(|it| it.keys().next()) {
        Some(first) if kind.is_none() && first == "spec" => wrong(|kind| &kind.schema),
        Some(first) if kind.is_none() && first == "target" => {
            wrong(|kind| &kind.schema["properties"]["spec"])
        }
        _ => None,
    }
}

fn wrong_fields(path: &str, value: &Value, schema: &Value, is_whole: bool) -> Option<String> {
    if let Some(items) = value.as_array() {
        return items
            .iter()
            .find_map(|item| wrong_fields(path, item, &schema["items"], is_whole));
    }
    let (object, fields) = (value.as_object()?, schema["properties"].as_object()?);
    let mut required = schema["required"].as_array().into_iter().flatten();
    let missing = required.find(|field| !field.as_str().is_some_and(|it| object.contains_key(it)));
    if let Some(missing) = missing.filter(|_| is_whole) {
        return Some(format!("a manifest lacks {path}.{missing}"));
    }
    let of_every_kind = ["apiVersion", "kind", "metadata"];
    object
        .iter()
        .find_map(|(name, value)| match fields.get(name) {
            Some(field) => wrong_fields(&format!("{path}.{name}"), value, field, is_whole),
            None if of_every_kind.contains(&name.as_str()) => None,
            None => Some(format!(
                "a manifest has {path}.{name}, which does not exist"
            )),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(yaml: &str) -> Option<String> {
        let kinds = kinds().expect("kinds");
        Example::Manifests(yaml.to_owned()).wrong(&xtask::root(), &kinds)
    }

    #[test]
    fn a_manifest_has_no_field_that_does_not_exist_and_all_that_are_required() {
        let whole = "kind: DingTalkApp\nmetadata: {name: a}\nspec:\n  site: china\n  corpIds: [ding1]\n  \
            credentialsSecretRef: {name: b}\n  referenceGrants: [{namespace: c}]\n";
        assert_eq!(wrong(whole), None);
        for (wanted, other) in [
            ("  site: china\n", ""),
            ("site: china", "region: china"),
            ("{namespace: c}", "{name: c}"),
            ("{name: b}", "{name: b, key: c}"),
            ("[ding1]", "[ding1"),
        ] {
            assert!(wrong(&whole.replace(wanted, other)).is_some(), "{other}");
        }
    }

    #[test]
    fn a_part_of_a_manifest_is_known_by_how_it_begins() {
        assert_eq!(wrong("target:\n  template: {data: {a: b}}\n"), None);
        assert!(wrong("target:\n  data: {a: b}\n").is_some());
        assert_eq!(wrong("spec: {appRef: {name: a}}\n"), None);
        assert!(wrong("spec: {appRef: {nam: a}}\n").is_some());
        assert_eq!(wrong("kind: Pod\nspec: {containers: []}\n"), None);
    }

    #[test]
    fn commands_are_found_in_blocks_and_in_the_text() {
        let text = "`a b`\n\n```console\n$ c \\\n    d\nwhat it prints\n```\n\n```sh\ne\n```\n";
        let commands = ["a b", "c      d", "e"].map(|it| Example::Command(it.to_owned()));
        assert_eq!(examples(text), commands);
    }
}
