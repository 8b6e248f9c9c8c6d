//! The README's quickstart, command by command.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::kubectl::Kubectl;
use super::node::Node;
use crate::{Failure, root};

/// Mark before a block of commands in the README.
const QUICKSTART: &str = "<!-- Run by `cargo xtask e2e`: the quickstart. -->";
const REMOVAL: &str = "<!-- Run by `cargo xtask e2e`: its removal. -->";
const REAL_SITE: &str =
    "<!-- Run by `cargo xtask e2e`, with a stub in DingTalk's place: the real site. -->";
const SAMPLES_REMOVAL: &str = "<!-- Run by `cargo xtask e2e`: the samples' removal. -->";

/// How a command runs on the test's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    AsWritten,
    UseCheckout,
    BuildImage,
    BootNode,
    LoadImage,
    InstallWithStubs,
}

/// Every command that a block may have, and the substitutes for those that need a network or a container engine. A
/// command that ends with a space has arguments, which are kept.
const COMMANDS: [(&str, Action, &str); 7] = [
    (
        "git clone https://github.com/dingtalk-token-operator/dingtalk-token-operator.git",
        Action::UseCheckout,
        "this checkout",
    ),
    (
        "cd dingtalk-token-operator",
        Action::UseCheckout,
        "this checkout",
    ),
    (
        "docker build ",
        Action::BuildImage,
        "buildah, on stand-ins for the base images",
    ),
    (
        "kind create cluster",
        Action::BootNode,
        "the test's own node",
    ),
    (
        "kind load docker-image ",
        Action::LoadImage,
        "an import into that node's containerd",
    ),
    (
        "kubectl apply -f deploy/install.yaml",
        Action::InstallWithStubs,
        "installed above, with stubs instead of DingTalk's sites",
    ),
    ("kubectl ", Action::AsWritten, "word for word"),
];

/// Characters that a shell would interpret.
const SHELL_SYNTAX: &str = "|&;<>()$`\\\"'*?[]#~{}!";

/// The README's blocks, which have only known commands.
pub(super) struct Quickstart {
    start: Vec<Step>,
    removal: Vec<Step>,
}

#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    action: Action,
    substitute: &'static str,
}

/// Time that the quickstart took.
#[derive(Default)]
struct Clock {
    images: Duration,
    cluster: Duration,
    token: Duration,
}

impl Quickstart {
    /// Reads the quickstart in the README.
    pub(super) fn read() -> Result<Self, Failure> {
        let [start, removal, real_site, samples_removal] =
            [QUICKSTART, REMOVAL, REAL_SITE, SAMPLES_REMOVAL].map(steps_of_readme);
        let (start, removal, real_site) = (start?, removal?, real_site?);
        let samples_removal = samples_removal?;
        let count = |steps: &[Step], action| {
            let of_action = steps.iter().filter(|step| step.action == action);
            of_action.count()
        };
        let is_whole = count(&start, Action::BootNode) == 1
            && count(&start, Action::InstallWithStubs) == 0
            && count(&removal, Action::AsWritten) == removal.len()
            && count(&samples_removal, Action::AsWritten) == samples_removal.len()
            && count(&real_site, Action::AsWritten) + 1 == real_site.len()
            && count(&real_site, Action::InstallWithStubs) == 1;
        match is_whole {
            true => Ok(Self { start, removal }),
            false => Err("the README's quickstart must create one cluster, the removals must use only kubectl, and the commands for the real site must install deploy/install.yaml".into()),
        }
    }

    /// Runs the quickstart until a pod prints how long its token is valid, then its removal.
    pub(super) fn run(&self, node: &mut Node) -> Result<(), Failure> {
        println!("\n── The README's quickstart");
        let mut clock = Clock::default();
        let mut said = String::new();
        for step in &self.start {
            let started = Instant::now();
            said = step.run(node)?;
            *clock.part(step.action) += started.elapsed();
        }
        is_good(&said, Timestamp::now())?;
        clock.print();
        println!("\n── Its removal");
        for step in &self.removal {
            step.run(node)?;
        }
        let left = node.shell("kubectl get crds,namespaces -o name")?;
        match left.contains("dingtalk") {
            true => Err(format!("the removal left objects:\n{left}").into()),
            false => Ok(()),
        }
    }
}

/// Runs the README's commands for the real site, then those that remove the samples. The operator must be installed,
/// with a stub as the site of the samples.
pub(super) fn run_real_site(kubectl: &Kubectl) -> Result<(), Failure> {
    let said = run_as_written(kubectl, REAL_SITE)?;
    is_good(&said, Timestamp::now())?;
    run_as_written(kubectl, SAMPLES_REMOVAL)?;
    Ok(())
}

/// Runs the commands after a mark that have no substitute, and returns the output of the last one.
fn run_as_written(kubectl: &Kubectl, mark: &str) -> Result<String, Failure> {
    let mut said = String::new();
    for step in steps_of_readme(mark)? {
        step.announce();
        if step.action == Action::AsWritten {
            let words: Vec<&str> = step.arguments().collect();
            said = shown(kubectl.run(&words)?);
        }
    }
    Ok(said)
}

impl Step {
    fn announce(&self) {
        println!("   $ {}", self.command);
        if self.action != Action::AsWritten {
            println!("     (here: {})", self.substitute);
        }
    }

    fn run(&self, node: &mut Node) -> Result<String, Failure> {
        self.announce();
        match self.action {
            Action::UseCheckout | Action::InstallWithStubs => {}
            Action::BuildImage => build_image(self.arguments())?,
            Action::BootNode => node.boot()?,
            Action::LoadImage => {
                for image in self.arguments() {
                    node.load(image)?;
                }
            }
            Action::AsWritten => return Ok(shown(node.shell(&self.command)?)),
        }
        Ok(String::new())
    }

    /// Returns what follows the part of the command that is in the table.
    fn arguments(&self) -> impl Iterator<Item = &str> {
        let known = COMMANDS.iter().map(|(known, ..)| known);
        let rest = known.filter_map(|known| self.command.strip_prefix(known));
        rest.flat_map(str::split_whitespace)
    }
}

impl Clock {
    fn part(&mut self, action: Action) -> &mut Duration {
        match action {
            Action::UseCheckout | Action::BuildImage => &mut self.images,
            Action::BootNode | Action::LoadImage => &mut self.cluster,
            Action::AsWritten | Action::InstallWithStubs => &mut self.token,
        }
    }

    fn print(&self) {
        let [images, cluster, token] =
            [self.images, self.cluster, self.token].map(|part| part.as_secs_f64());
        println!(
            "   The quickstart took {:.0} s: {images:.0} s for the images, {cluster:.0} s for the cluster,",
            images + cluster + token
        );
        println!("   and {token:.0} s from the first kubectl to a pod with a valid token.");
        println!(
            "   (Builds of images reuse what earlier ones compiled; nothing was cloned or pulled.)"
        );
    }
}

/// Builds an image as `docker build` would.
fn build_image<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let status = Command::new(root().join("tests/node/images/docker-build.sh"))
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err("building the image failed: see above".into()),
    }
}

fn shown(said: String) -> String {
    for line in said.lines() {
        println!("     {line}");
    }
    said
}

/// Checks that a pod's last line says that its token is valid until a time in the future.
fn is_good(said: &str, now: Timestamp) -> Result<(), Failure> {
    let last = said.lines().last().unwrap_or_default();
    let until = last.rsplit_once(" is good until ");
    let until = until.and_then(|(_, until)| until.parse::<Timestamp>().ok());
    match until {
        Some(until) if until > now => Ok(()),
        _ => Err(format!("the pod does not say that its token is valid, but {last:?}").into()),
    }
}

fn steps_of_readme(mark: &str) -> Result<Vec<Step>, Failure> {
    steps(&fs::read_to_string(root().join("README.md"))?, mark)
}

/// Returns the commands of the fenced block after a mark.
fn steps(readme: &str, mark: &str) -> Result<Vec<Step>, Failure> {
    let block = readme
        .split_once(&format!("{mark}\n\n```sh\n"))
        .and_then(|(_, rest)| rest.split_once("\n```"));
    let Some((block, _)) = block else {
        return Err(format!("README.md has no `sh` block after {mark}").into());
    };
    block.split('\n').map(step).collect()
}

fn step(line: &str) -> Result<Step, Failure> {
    let is_meant = |known: &str| match known.ends_with(' ') {
        true => line.starts_with(known),
        false => line == known,
    };
    let known = COMMANDS.iter().find(|(known, ..)| is_meant(known));
    match known {
        Some((_, action, substitute)) if !line.contains(|c| SHELL_SYNTAX.contains(c)) => Ok(Step {
            command: line.to_owned(),
            action: *action,
            substitute,
        }),
        _ => Err(format!("the README's quickstart has a command that is not in the table of xtask/src/e2e/quickstart.rs: {line}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readme(block: &str) -> String {
        format!("Text.\n\n{QUICKSTART}\n\n```sh\n{block}\n```\n\nText.\n")
    }

    #[test]
    fn every_command_of_the_readme_is_known() {
        let quickstart = Quickstart::read().map_err(|error| error.to_string());
        let quickstart = quickstart.expect("known");
        let last = quickstart.start.last().expect("a command");
        assert!(last.command.starts_with("kubectl logs "), "{last:?}");
    }

    #[test]
    fn a_command_keeps_its_arguments() {
        let text = readme("docker build --target stub --tag a .\nkubectl get pods");
        let steps = steps(&text, QUICKSTART).map_err(|error| error.to_string());
        let steps = steps.expect("known");
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].action, Action::BuildImage);
        let arguments: Vec<&str> = steps[0].arguments().collect();
        assert_eq!(arguments, ["--target", "stub", "--tag", "a", "."]);
        assert_eq!(steps[1].action, Action::AsWritten);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for command in [
            "helm install operator .",
            "git clone https://github.com/somebody/else.git",
            "kind create cluster --image kindest/node:v1.33.0",
            "kubectl get pods | head",
            "kubectl get pods; reboot",
            "kubectl get pods > $HOME/pods",
            "kubectl",
            "",
        ] {
            let refused = steps(&readme(command), QUICKSTART).expect_err("refused");
            assert!(
                refused.to_string().contains("not in the table"),
                "{refused}"
            );
        }
        assert!(steps(&readme("kubectl get pods"), REMOVAL).is_err());
    }

    #[test]
    fn a_pod_has_to_say_that_its_token_is_good() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let good =
            "no token: waiting\nthe token (32 characters) is good until 2026-01-01T02:00:00Z\n";
        assert!(is_good(good, now).is_ok());
        for said in [
            "",
            "the token expired at 2025-12-31T23:00:00Z\n",
            "the token (32 characters) is good until 2025-12-31T23:00:00Z\n",
            "the token (32 characters) is good until soon\n",
        ] {
            assert!(is_good(said, now).is_err(), "{said}");
        }
    }
}
