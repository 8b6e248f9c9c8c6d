//! The names under which the program can be started.

use std::ffi::OsStr;
use std::path::Path;

/// Role of the program, which depends on the name that it was started by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Program {
    /// The operator, with all commands.
    #[default]
    Operator,
    /// The kubectl plugin for `kubectl dingtalk`.
    Plugin,
    /// The program that kubectl runs to complete command lines of the plugin.
    Completion,
}

impl Program {
    /// Returns the role for the path by which the program was started.
    pub(super) fn called_as(path: &OsStr) -> Self {
        let name = Path::new(path).file_name().unwrap_or_default();
        let name = name.to_string_lossy().to_ascii_lowercase();
        match name.strip_suffix(".exe").unwrap_or(&name) {
            "kubectl-dingtalk" => Self::Plugin,
            "kubectl_complete-dingtalk" => Self::Completion,
            _ => Self::Operator,
        }
    }

    /// Returns the name that users type.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Operator => "dingtalk-token-operator",
            Self::Plugin | Self::Completion => "kubectl dingtalk",
        }
    }

    /// Returns the file name, which shells complete.
    pub(super) fn file_name(self) -> &'static str {
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
