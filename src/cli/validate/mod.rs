//! `validate`: checks manifests without a cluster.

mod check;
mod manifests;
mod metadata;
mod rules;
mod runtime;
mod schema;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueHint};
use serde::Serialize;

use super::error::CliError;
use super::exit::verdict;
use super::output::{Output, Tone, has_colours, print_note};
use crate::dingtalk::visible;
use check::{Finding, Resources, Severity, no_object};
use manifests::{Document, documents, nothing_in, read};
use runtime::{Admitted, findings};

#[derive(Debug, Args)]
pub(super) struct ValidateArguments {
    /// File or folder with manifests, or - for standard input. Can be repeated. A file may have at most
    /// 16 MiB.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true,
        value_hint = ValueHint::AnyPath)]
    files: Vec<PathBuf>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    items: Vec<Finding>,
    /// Number of custom resources without findings.
    valid: usize,
    /// Number of custom resources with findings, and of documents that are not YAML or not objects.
    invalid: usize,
    /// Number of objects of other kinds.
    skipped: usize,
}

pub(super) fn validate(arguments: &ValidateArguments) -> Result<ExitCode, CliError> {
    let (documents, empty) = found(&arguments.files)?;
    let report = report(&documents)?;
    let text = || shown(&report, has_colours());
    arguments.output.print(&report, text)?;
    for path in &empty {
        print_note(&nothing_in(path));
    }
    Ok(verdict(report.items.is_empty() && empty.is_empty()))
}

/// Returns the objects, and the paths that have none.
fn found(paths: &[PathBuf]) -> Result<(Vec<Document>, Vec<&Path>), CliError> {
    let (mut all, mut empty) = (Vec::new(), Vec::new());
    for path in paths {
        let found: Vec<Document> = read(path)?.iter().flat_map(documents).collect();
        if found.is_empty() {
            empty.push(path.as_path());
        }
        all.extend(found);
    }
    Ok((all, empty))
}

fn report(documents: &[Document]) -> Result<Report, CliError> {
    let resources = Resources::new()?;
    let mut report = Report::default();
    let mut admitted = Vec::new();
    let mut secrets = Vec::new();
    for document in documents {
        let refused = |path, message| Finding {
            place: document.place.clone(),
            path,
            message,
            severity: Severity::Refused,
        };
        match &document.object {
            Err(error) => {
                report.invalid += 1;
                let message = format!("not YAML: {error}");
                report.items.push(refused(String::new(), message));
            }
            Ok(value) if !value.is_object() => {
                report.invalid += 1;
                report.items.push(refused(String::new(), no_object(value)));
            }
            Ok(object) if resources.is_ours(object) => match resources.admit(object) {
                Ok(object) => admitted.push(Admitted { document, object }),
                Err(faults) => {
                    report.invalid += 1;
                    let faults = faults.into_iter();
                    let refusals = faults.map(|it| refused(it.path, it.message));
                    report.items.extend(refusals);
                }
            },
            Ok(object) => {
                report.skipped += 1;
                if object["kind"] == "Secret" && object["apiVersion"] == "v1" {
                    secrets.push((document.place.file.as_str(), object));
                }
            }
        }
    }
    for reported in findings(&admitted, &secrets) {
        match reported.is_empty() {
            true => report.valid += 1,
            false => report.invalid += 1,
        }
        report.items.extend(reported);
    }
    Ok(report)
}

fn shown(report: &Report, has_colours: bool) -> String {
    let lines = report.items.iter().map(|it| line(it, has_colours) + "\n");
    let (valid, invalid, skipped) = (report.valid, report.invalid, report.skipped);
    let summary =
        format!("{valid} valid, {invalid} with findings, {skipped} of other kinds skipped\n");
    lines.chain([summary]).collect()
}

fn line(finding: &Finding, has_colours: bool) -> String {
    let (word, tone) = match finding.severity {
        Severity::Refused => ("fails ", Tone::Bad),
        Severity::Reported => ("warn  ", Tone::Doubtful),
    };
    let path = match finding.path.is_empty() {
        true => String::new(),
        false => format!("{}: ", finding.path),
    };
    let said = format!("{}: {path}{}", finding.place, finding.message);
    tone.paint(word, has_colours) + &visible(&said)
}
