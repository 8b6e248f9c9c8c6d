//! Reads manifests: files with several documents, and documents with lists of objects.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::cli::error::{CliError, failed};

/// Maximum size of a file, in bytes.
const SIZE_MAX: u64 = 16 << 20;
/// The byte order mark, which some programs write before UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// Path of the standard input.
const STANDARD_INPUT: &str = "-";
/// What to do about a file that cannot be parsed but looks like a template of Helm.
const HELM: &str = "; if this is a template of Helm, check what it renders: \
                    helm template CHART | kubectl dingtalk validate -f -";
/// Extensions of files to read from a folder, as in kubectl.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    failed(format!("cannot read {}", path.display()))
}

pub(super) struct File {
    /// Path of the file; `-` means standard input.
    pub name: String,
    pub text: String,
}

/// Reads a file, or the manifests directly in a folder.
pub(super) fn read(path: &Path) -> Result<Vec<File>, CliError> {
    if path.as_os_str() == STANDARD_INPUT {
        return Ok(vec![File {
            name: STANDARD_INPUT.to_owned(),
            text: text(io::stdin()).map_err(unreadable(path))?,
        }]);
    }
    if path.is_dir() {
        return manifests_of(path)?.iter().map(|path| file(path)).collect();
    }
    Ok(vec![file(path)?])
}

/// Returns the message about a path without any object.
pub(super) fn nothing_in(path: &Path) -> String {
    if path.as_os_str() == STANDARD_INPUT {
        return "no manifests found in the standard input".to_owned();
    }
    let read = match path.is_dir() {
        true => ": of a folder, only its own files *.json, *.yaml and *.yml are read",
        false => "",
    };
    format!("no manifests found in {}{read}", path.display())
}

fn file(path: &Path) -> Result<File, CliError> {
    Ok(File {
        name: path.display().to_string(),
        text: fs::File::open(path)
            .and_then(text)
            .map_err(unreadable(path))?,
    })
}

/// Reads a text, at most one byte past the maximum size.
fn text(reader: impl Read) -> Result<String, io::Error> {
    let mut bytes = Vec::new();
    let size = reader.take(SIZE_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(size).is_ok_and(|size| size <= SIZE_MAX) {
        let invalid =
            |_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8: save it as UTF-8");
        let text = String::from_utf8(bytes).map_err(invalid)?;
        return Ok(match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => rest.to_owned(),
            None => text,
        });
    }
    let limit = SIZE_MAX >> 20;
    let message = format!("it is larger than {limit} MiB: divide it into several files");
    Err(io::Error::new(ErrorKind::FileTooLarge, message))
}

fn manifests_of(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let extension = path.extension().and_then(|it| it.to_str());
        if extension.is_some_and(|it| EXTENSIONS.contains(&it)) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Place {
    pub file: String,
    /// Number of the document in the file, starting at 1. The objects of a list have the same number.
    pub document: usize,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name; empty if the API server generates it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, document {}", self.file, self.document)?;
        if !self.kind.is_empty() {
            write!(formatter, ", {}", self.kind)?;
        }
        match (self.namespace.as_str(), self.name.as_str()) {
            (_, "") => Ok(()),
            ("", name) => write!(formatter, " {name}"),
            (namespace, name) => write!(formatter, " {namespace}/{name}"),
        }
    }
}

pub(super) struct Document {
    pub place: Place,
    /// The object, or the error in the YAML.
    pub object: Result<Value, String>,
}

impl Document {
    fn new(file: &File, number: usize, object: Result<Value, String>) -> Self {
        let text = |pointer: &str| {
            let text = object.as_ref().ok().and_then(|it| it.pointer(pointer));
            text.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let place = Place {
            file: file.name.clone(),
            document: number,
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        };
        Self { place, object }
    }
}

/// Returns the objects of a file. Skips empty documents.
pub(super) fn documents(file: &File) -> Vec<Document> {
    let mut documents = Vec::new();
    for (index, parsed) in parsed(&file.text).into_iter().enumerate() {
        let objects = match parsed.and_then(json) {
            Ok(Value::Null) => Vec::new(),
            Ok(object) => unfold(object).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error + helm_advice(&file.text))],
        };
        let objects = objects.into_iter();
        documents.extend(objects.map(|object| Document::new(file, index + 1, object)));
    }
    documents
}

/// Parses the documents of a text, until one of them cannot be parsed.
fn parsed(text: &str) -> Vec<Result<serde_yaml_ng::Value, String>> {
    // Parsing directly into JSON values would not detect duplicate fields.
    let objects = serde_json::Deserializer::from_str(text).into_iter::<serde_yaml_ng::Value>();
    // As for kubectl, JSON objects may follow each other with nothing between them.
    if text.trim_start().starts_with('{')
        && let Ok(objects) = objects.collect::<Result<Vec<_>, _>>()
    {
        return objects.into_iter().map(Ok).collect();
    }
    let mut parsed = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = serde_yaml_ng::Value::deserialize(document);
        let is_last = value.is_err();
        parsed.push(value.map_err(|error| error.to_string()));
        if is_last {
            break;
        }
    }
    parsed
}

/// Returns what to do if a text has `{{` outside of strings, as templates of Helm have; otherwise nothing.
fn helm_advice(text: &str) -> &'static str {
    let has_action = |line: &str| {
        let before = line.split_once("{{").map(|(before, _)| before.trim_end());
        before.is_some_and(|before| before.is_empty() || before.ends_with([':', '-']))
    };
    match text.lines().any(has_action) {
        true => HELM,
        false => "",
    }
}

/// Converts YAML as kubectl does, which merges the fields that `<<` refers to.
fn json(mut yaml: serde_yaml_ng::Value) -> Result<Value, String> {
    yaml.apply_merge().map_err(|error| error.to_string())?;
    serde_json::to_value(&yaml).map_err(|error| error.to_string())
}

/// Returns the object or, if it is a list, its items, which may be lists themselves.
fn unfold(object: Value) -> Vec<Value> {
    let (mut objects, mut left) = (Vec::new(), vec![object]);
    while let Some(mut object) = left.pop() {
        let kind = object.get("kind").and_then(Value::as_str);
        let is_list = kind.is_some_and(|kind| kind.ends_with("List"));
        match object.get_mut("items").filter(|_| is_list) {
            Some(Value::Array(items)) => left.extend(std::mem::take(items).into_iter().rev()),
            _ => objects.push(object),
        }
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str) -> Vec<(usize, Result<Value, String>)> {
        let name = "x.yaml".to_owned();
        let text = text.to_owned();
        let all = documents(&File { name, text }).into_iter();
        all.map(|it| (it.place.document, it.object)).collect()
    }

    /// Regression: standard input without an end took memory without end.
    #[test]
    fn a_text_past_the_bound_is_refused_and_not_read_to_its_end() {
        let endless = || io::repeat(b'#');
        let error = text(endless()).expect_err("too large");
        let said = unreadable(Path::new("-"))(error).to_string();
        let expected = "cannot read -: it is larger than 16 MiB: divide it into several files";
        assert_eq!(said, expected);
        let largest = text(endless().take(SIZE_MAX)).expect("a text");
        assert_eq!(u64::try_from(largest.len()).ok(), Some(SIZE_MAX));
        let error = text(&b"\xff\xfea\0"[..]).expect_err("UTF-16");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("save it as UTF-8"), "{error}");
    }

    /// Regression: YAML that begins with the mark was refused.
    #[test]
    fn a_byte_order_mark_is_skipped_as_kubectl_does() {
        for manifest in [
            "{\"a\": 1}",
            "---\na: 1\n",
            "a: 1\n---\nb: 1\n",
            "# a comment\na: 1\n",
        ] {
            let marked = format!("\u{feff}{manifest}");
            let read = text(marked.as_bytes()).expect("a text");
            assert_eq!(read, manifest);
        }
    }

    /// Regression: everything after the first object was said not to be YAML.
    #[test]
    fn json_objects_may_follow_each_other_as_for_kubectl() {
        let found = objects("{\"a\": 1}\n{\"b\": [{\"c\": null}]}{\"d\": 2}\n");
        let keys: Vec<String> = found
            .iter()
            .map(|it| it.1.as_ref().expect("JSON").to_string())
            .collect();
        assert_eq!(keys, ["{\"a\":1}", "{\"b\":[{\"c\":null}]}", "{\"d\":2}"]);
        let numbers: Vec<usize> = found.iter().map(|it| it.0).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(objects("{a: 1}\n---\n{b: 1}\n").len(), 2, "YAML");
        let twice = objects("{\"a\": 1, \"a\": 2}").remove(0).1;
        assert!(twice.expect_err("an error").contains("duplicate"));
    }

    /// Regression: nothing said that templates of Helm have to be rendered first.
    #[test]
    fn what_looks_like_a_template_of_helm_says_how_to_check_it() {
        for template in [
            "a: {{ .Values.a }}\n",
            "a:\n  {{- toYaml .Values.a | nindent 2 }}\n",
            "{{- if .Values.a }}\na: 1\n{{- end }}\n",
            "a:\n- {{ .Values.a }}\n",
        ] {
            let error = objects(template).remove(0).1.expect_err(template);
            assert!(error.ends_with(HELM), "{template}: {error}");
        }
        for other in [
            "a: '{{ access_token }}'\nb: [\n",
            "a: x {{ y }}\nb: [\n",
            "b: [\n",
        ] {
            let error = objects(other).remove(0).1.expect_err(other);
            assert!(!error.contains("Helm"), "{other}: {error}");
        }
    }

    #[test]
    fn documents_are_counted_empty_ones_skipped_and_lists_unfolded() {
        let found = objects(
            "# a comment\n---\na: 1\n---\n---\nkind: List\napiVersion: v1\nitems: [{b: 1}, {c: 1}]\n",
        );
        let numbers: Vec<usize> = found.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 3, 3], "{found:?}");
        assert!(found.iter().all(|(_, object)| object.is_ok()));
        assert_eq!(objects("{\"a\": 1}").len(), 1, "JSON is YAML");
    }

    /// Regression: the objects of a list in a list, and those of a `DingTalkAppList`, were not checked.
    #[test]
    fn lists_of_any_kind_are_unfolded_in_their_order() {
        let found = objects(
            "kind: List\napiVersion: v1\nitems:\n- {a: 1}\n- {kind: List, apiVersion: v1, items: [{b: 1}, {c: 1}]}\n\
             - {kind: DingTalkAppList, items: [{d: 1}]}\n- {kind: DingTalkApp, items: []}\n",
        );
        let found = found.into_iter().map(|(_, object)| object);
        let found: Vec<Value> = found.map(|it| it.expect("an object")).collect();
        let alone = serde_json::json!({"kind": "DingTalkApp", "items": []});
        let items = ["a", "b", "c", "d"].map(|name| serde_json::json!({ name: 1 }));
        assert_eq!(found, [&items[..], &[alone]].concat());
    }

    /// Regression: `<<` was refused as an unknown field, though kubectl merges what it refers to.
    #[test]
    fn fields_are_merged_as_kubectl_does() {
        let found = objects("base: &base {a: 1, b: 1}\nmerged:\n  <<: *base\n  b: 2\n");
        let object = found[0].1.as_ref().expect("an object");
        assert_eq!(object["merged"], serde_json::json!({"a": 1, "b": 2}));
        let wrong = objects("<<: 1\n---\na: 1\n");
        assert!(wrong[0].1.is_err() && wrong[1].1.is_ok(), "{wrong:?}");
    }

    #[test]
    fn what_is_no_yaml_or_names_a_field_twice_says_where() {
        let found = objects("a: 1\n---\nb: [\n");
        let error = found[1].1.as_ref().expect_err("an error");
        assert!(error.contains("line"), "{error}");
        let twice = objects("a: 1\na: 2\n");
        let error = twice[0].1.as_ref().expect_err("an error");
        assert!(error.contains("duplicate"), "{error}");
    }
}
