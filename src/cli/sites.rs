//! Flags for DingTalk's sites.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;

use super::error::{CliError, failed};
use crate::dingtalk::{Client, ClientOptions, Site};

#[derive(Debug, Args)]
pub(super) struct SiteArguments {
    /// A site that apps may use, as NAME=URL. Adds to or replaces the built-in sites. Can be repeated.
    #[arg(long = "site", value_name = "NAME=URL")]
    sites: Vec<Site>,
    /// Whether apps may use the built-in sites china (https://api.dingtalk.com) and global
    /// (https://api.dingtalk.io).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    builtin_sites: bool,
    /// PEM file with CA certificates to trust for the sites, in addition to the system's.
    #[arg(long, value_name = "FILE")]
    ca_bundle: Option<PathBuf>,
    /// For tests only: allow sites with http:// URLs, which expose Client Secrets.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    allow_plain_http: bool,
}

impl SiteArguments {
    /// Returns the sites from the flags, and the built-in ones that they do not replace.
    pub(super) fn sites(&self) -> Result<Vec<Site>, CliError> {
        let mut names = HashSet::new();
        if let Some(twice) = self.sites.iter().find(|it| !names.insert(&it.name)) {
            return Err(CliError::SiteTwice(twice.name.clone()));
        }
        let mut sites = self.sites.clone();
        if self.builtin_sites {
            let built_in = Site::built_in().into_iter();
            sites.extend(built_in.filter(|it| !names.contains(&it.name)));
        }
        match sites.is_empty() {
            true => Err(CliError::NoSite),
            false => Ok(sites),
        }
    }

    pub(super) fn client(&self) -> Result<Client, CliError> {
        let sites = self.sites()?;
        let read = |path: &PathBuf| {
            let operation = format!("cannot read --ca-bundle {}", path.display());
            std::fs::read(path).map_err(failed(operation))
        };
        let extra_ca = self.ca_bundle.as_ref().map(read).transpose()?;
        // The provider is set once per process; an error means that it is already set.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Client::new(ClientOptions {
            sites,
            allow_plain_http: self.allow_plain_http,
            extra_ca,
            has_proxies: true,
        })?)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        sites: SiteArguments,
    }

    fn sites(flags: &[&str]) -> Result<Vec<String>, CliError> {
        let flags = Flags::try_parse_from([&["x"], flags].concat()).expect("flags");
        let sites = flags.sites.sites()?.into_iter();
        Ok(sites
            .map(|site| format!("{}={}", site.name, site.url))
            .collect())
    }

    #[test]
    fn sites_add_to_the_built_in_ones_and_may_replace_them() {
        let built_in = [
            "china=https://api.dingtalk.com/",
            "global=https://api.dingtalk.io/",
        ];
        assert_eq!(sites(&[]).expect("sites"), built_in);
        let ours = sites(&["--site", "ours=https://dingtalk.example"]).expect("sites");
        assert_eq!(
            ours,
            [&["ours=https://dingtalk.example/"], &built_in[..]].concat()
        );
        let china = sites(&["--site=china=https://mirror.example"]).expect("sites");
        assert_eq!(china, ["china=https://mirror.example/", built_in[1]]);
        let alone = [
            "--builtin-sites=false",
            "--site=ours=https://dingtalk.example",
        ];
        assert_eq!(
            sites(&alone).expect("sites"),
            ["ours=https://dingtalk.example/"]
        );
        assert!(matches!(sites(&alone[..1]), Err(CliError::NoSite)));
        let twice = [
            "--site=a=https://one.example",
            "--site=a=https://two.example",
        ];
        assert!(matches!(sites(&twice), Err(CliError::SiteTwice(name)) if name == "a"));
    }

    #[test]
    fn a_boolean_flag_stands_alone_or_has_a_value_after_an_equals_sign() {
        let parsed = |flag: &str| {
            let flags = Flags::try_parse_from(["x", flag]);
            flags.map(|flags| flags.sites.builtin_sites).ok()
        };
        assert_eq!(parsed("--builtin-sites"), Some(true));
        assert_eq!(parsed("--builtin-sites=true"), Some(true));
        assert_eq!(parsed("--builtin-sites=false"), Some(false));
        assert_eq!(parsed("--builtin-sites=maybe"), None);
        assert!(Flags::try_parse_from(["x", "--builtin-sites", "false"]).is_err());
    }
}
