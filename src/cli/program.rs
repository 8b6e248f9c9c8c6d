//! The names that the program is called by.

use std::ffi::OsStr;
use std::path::Path;

/// What the program is, by the name that it was called by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// The operator, with its commands for people.
    #[default]
    Operator,
    /// The plugin that kubectl runs for `kubectl dingtalk`.
    Plugin,
    /// What kubectl runs to complete a command line of the plugin.
    Completion,
}

impl Program {
    /// By the path that it was called by, its first argument.
    pub fn called_as(path: &OsStr) -> Self {
        let name = Path::new(path).file_name().unwrap_or_default();
        let name = name.to_string_lossy().to_ascii_lowercase();
        match name.strip_suffix(".exe").unwrap_or(&name) {
            "kubectl-dingtalk" => Self::Plugin,
            "kubectl_complete-dingtalk" => Self::Completion,
            _ => Self::Operator,
        }
    }

    /// How a person calls it.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Operator => "dingtalk-token-operator",
            Self::Plugin | Self::Completion => "kubectl dingtalk",
        }
    }

    /// The name of its file, which a shell completes.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Operator => "dingtalk-token-operator",
            Self::Plugin | Self::Completion => "kubectl-dingtalk",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_decides_wherever_it_is() {
        for (path, program) in [
            ("kubectl-dingtalk", Program::Plugin),
            ("/home/a/.krew/bin/kubectl-dingtalk", Program::Plugin),
            ("./KUBECTL-DINGTALK.EXE", Program::Plugin),
            ("/usr/bin/kubectl_complete-dingtalk", Program::Completion),
            ("kubectl_complete-dingtalk.exe", Program::Completion),
            ("/dingtalk-token-operator", Program::Operator),
            (
                "/kubectl-dingtalk/dingtalk-token-operator",
                Program::Operator,
            ),
            ("kubectl-dingtalk.sh", Program::Operator),
            ("", Program::Operator),
        ] {
            assert_eq!(Program::called_as(OsStr::new(path)), program, "{path}");
        }
    }
}
