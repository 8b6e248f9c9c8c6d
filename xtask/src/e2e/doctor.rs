//! `doctor` in the operator's pod, as docs/installing.md describes it.

use super::kubectl::Kubectl;
use super::operator::{self, NAME};
use super::sites::Site;
use crate::Failure;

/// Runs `doctor` with the flags for the test's sites. Checks that it succeeds, and what it says about the sites, the
/// leader and the operator's rights in a namespace with apps.
pub(super) fn run(kubectl: &Kubectl, sites: &[Site], namespace: &str) -> Result<(), Failure> {
    let (deployment, program) = (format!("deployment/{NAME}"), format!("/{NAME}"));
    let flags = operator::arguments(sites);
    let mut command = vec!["exec", "-n", NAME, &deployment, "--", &program, "doctor"];
    command.extend(flags.iter().map(String::as_str));
    println!("   $ kubectl {}", command.join(" "));
    let said = kubectl.run(&command)?;
    for line in said.lines() {
        println!("   {line}");
    }
    let mut wanted: Vec<String> = sites
        .iter()
        .map(|site| line("ok", &format!("site {}, TLS: the certificate", site.name)))
        .collect();
    wanted.push(line("ok", "leader: "));
    wanted.push(line("ok", &format!("rights to serve {namespace}: ")));
    // The operator has no right to its own Deployment.
    wanted.push(line("not checked", "operator: you are not allowed to"));
    let missing = missing(&said, wanted);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("doctor did not say: {}", missing.join(" | ")).into()),
    }
}

/// Returns the beginning of a line of the output.
fn line(state: &str, rest: &str) -> String {
    format!("{state:13}{rest}")
}

/// Returns those beginnings that no line has.
fn missing(said: &str, mut beginnings: Vec<String>) -> Vec<String> {
    beginnings.retain(|beginning| !said.lines().any(|line| line.starts_with(beginning)));
    beginnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_doctor_did_not_print_are_named() {
        let said = "ok           leader: pod-1 renewed the Lease 1 s ago\nfails        rights to lead: x\n";
        let wanted = vec![line("ok", "leader: "), line("ok", "rights to lead: ")];
        assert_eq!(missing(said, wanted), ["ok           rights to lead: "]);
    }
}
