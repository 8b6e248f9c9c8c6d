//! Checks the layout of the sources: which folder may use which, no circular uses, and maximum lengths. Also checks the
//! documentation's links, and that the tests that it names exist.

mod exceptions;
mod graph;
mod links;
mod measure;
mod promises;
mod source;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::{Failure, root};
use exceptions::{IN_A_CIRCLE, LONG_FILES, LONG_FUNCTIONS};
use graph::{Uses, circles, uses};
pub use links::{Page, broken_links, page_texts, plain, texts_with_commands};
use measure::{Function, Measures, length, measure};
pub use promises::missing_functions;
use promises::missing_tests;
use source::{Crate, rust_files, shown};

/// The folders of `src`, here called rooms, lower ones first. A room may use only those before it in this list.
const ROOMS: [(&str, &str); 6] = [
    ("api", "the resources, reasons and causes"),
    (
        "dingtalk",
        "the client of DingTalk, and which request goes next",
    ),
    ("core", "what the operator knows, and what follows from it"),
    ("operator", "leader election, metrics, logs, health"),
    ("controller", "watches and calls to the API server"),
    ("cli", "the commands"),
];
/// The folders of `src/core`, lower ones first, by the same rule.
const ROOMS_OF_CORE: [(&str, &str); 7] = [
    ("token", "a token's life and its fetches"),
    ("secret", "what a Secret holds, records and needs"),
    ("app", "the next step of an app"),
    ("report", "statuses and events"),
    ("copy", "the next step of a reference"),
    ("index", "which objects concern which"),
    ("handle", "events in, decisions out"),
];

/// A place in [`ROOMS`] and, within the core, one in [`ROOMS_OF_CORE`].
#[derive(Clone, Copy)]
struct Room {
    outer: usize,
    /// `None` for the root of the core, which only re-exports.
    inner: Option<usize>,
}

impl Room {
    /// Returns the names of both rooms if `upper` is above this one.
    fn below(self, upper: Self) -> Option<(&'static str, &'static str)> {
        match (self.inner, upper.inner) {
            _ if upper.outer > self.outer => Some((ROOMS[self.outer].0, ROOMS[upper.outer].0)),
            (Some(lower), Some(higher)) if upper.outer == self.outer && higher > lower => {
                Some((ROOMS_OF_CORE[lower].0, ROOMS_OF_CORE[higher].0))
            }
            _ => None,
        }
    }
}

/// Maximum number of lines that a message names.
const SHOWN: usize = 5;
const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 60;

/// Checks the layout, or prints the counts.
pub(crate) fn run(counts: bool) -> Result<ExitCode, Failure> {
    let layout = Layout::read(&root())?;
    if counts {
        layout.print_counts();
        return Ok(ExitCode::SUCCESS);
    }
    let mut problems = layout.problems();
    let missing = missing_tests(&root())?;
    problems.extend(missing.iter().map(|name| {
        format!("CONTRIBUTING.md: there is no test {name}: name the one that verifies the promise")
    }));
    problems.extend(broken_links(&root())?);
    for problem in &problems {
        eprintln!("{problem}");
    }
    Ok(match problems.is_empty() {
        true => {
            println!("the layout is correct: {} files", layout.source.files.len());
            ExitCode::SUCCESS
        }
        false => ExitCode::FAILURE,
    })
}

struct Layout {
    source: Crate,
    uses: Uses,
    measures: Measures,
    /// Every Rust file in the repository, with its number of lines.
    lengths: Vec<(String, usize)>,
}

impl Layout {
    fn read(root: &Path) -> Result<Self, Failure> {
        let source = Crate::read(root, "dingtalk_token_operator")?;
        let mut lengths = Vec::new();
        for folder in ["src", "tests", "xtask"] {
            for path in rust_files(&root.join(folder))? {
                let lines = length(&path)?;
                lengths.push((shown(path.strip_prefix(root)?), lines));
            }
        }
        Ok(Self {
            uses: uses(&source),
            measures: measure(&source),
            source,
            lengths,
        })
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.upwards();
        problems.extend(self.circular());
        problems.extend(too_long(
            "file",
            FILE_LINES,
            &LONG_FILES,
            self.lengths
                .iter()
                .map(|(path, lines)| (path.clone(), path.clone(), *lines)),
        ));
        problems.extend(too_long(
            "function",
            FUNCTION_LINES,
            &LONG_FUNCTIONS,
            self.measures.functions.iter().map(|function| {
                let path = self.path(function.file);
                let place = format!("{path}:{}", function.line);
                (place, format!("{path}::{}", function.name), function.lines)
            }),
        ));
        problems
    }

    fn path(&self, file: usize) -> &str {
        &self.source.files[file].path
    }

    /// Returns the room of a file; `None` for the root, which may use all rooms.
    fn room(&self, file: usize) -> Result<Option<Room>, String> {
        let path = self.path(file);
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        if matches!(parts[..], ["lib.rs" | "main.rs"]) {
            return Ok(None);
        }
        let place = |rooms: &[(&str, &str)], name: &str| {
            let name = name.trim_end_matches(".rs");
            let place = rooms.iter().position(|(room, _)| *room == name);
            place.ok_or_else(|| {
                format!("{path}: add {name} to the rooms in xtask/src/layout/mod.rs")
            })
        };
        let inner = match parts[..] {
            ["core", "mod.rs"] => None,
            ["core", name, ..] => Some(place(&ROOMS_OF_CORE, name)?),
            _ => None,
        };
        let outer = place(&ROOMS, parts.first().copied().unwrap_or_default())?;
        Ok(Some(Room { outer, inner }))
    }

    fn upwards(&self) -> Vec<String> {
        let mut problems = BTreeSet::new();
        for ((from, to), lines) in &self.uses {
            match (self.room(*from), self.room(*to)) {
                (Err(problem), _) | (_, Err(problem)) => drop(problems.insert(problem)),
                (Ok(Some(lower)), Ok(Some(upper))) => {
                    if let Some((lower, upper)) = lower.below(upper) {
                        let (from, to) = (self.path(*from), self.path(*to));
                        let lines = listed(lines);
                        let problem =
                            format!("{from}:{lines}: uses {to}, but {upper} is above {lower}");
                        problems.insert(problem);
                    }
                }
                _ => {}
            }
        }
        problems.into_iter().collect()
    }

    fn circles(&self) -> Vec<BTreeSet<usize>> {
        circles(self.source.files.len(), &self.uses)
    }

    fn circular(&self) -> Vec<String> {
        let circles = self.circles();
        let mut unneeded: BTreeSet<&str> = IN_A_CIRCLE.into();
        let mut problems = Vec::new();
        for circle in &circles {
            let paths = || circle.iter().map(|file| self.path(*file));
            if !paths().all(|path| IN_A_CIRCLE.contains(&path)) {
                problems.push(self.described(circle));
            }
            unneeded.retain(|listed| !paths().any(|path| path == *listed));
        }
        let unneeded = unneeded
            .into_iter()
            .map(|path| superfluous(path, "in a circle"));
        problems.extend(unneeded);
        problems
    }

    fn described(&self, circle: &BTreeSet<usize>) -> String {
        let mut text = format!("a circle of {} files:", circle.len());
        for ((from, to), lines) in &self.uses {
            if circle.contains(from) && circle.contains(to) {
                let (from, to) = (self.path(*from), self.path(*to));
                let _ = write!(text, "\n  {from}:{}: uses {to}", listed(lines));
            }
        }
        text
    }

    fn print_counts(&self) {
        let measures = &self.measures;
        let upwards = self.upwards().len();
        println!("lines of src without tests      {}", measures.lines);
        println!("circular uses of files          {}", self.circles().len());
        println!("upward uses between rooms       {upwards}");
        if let Some(longest) = measures.functions.iter().max_by_key(|it| it.lines) {
            let Function {
                file, name, lines, ..
            } = longest;
            println!(
                "longest function                {lines} ({}::{name})",
                self.path(*file)
            );
        }
        let is_source = |path: &str| self.source.files.iter().any(|file| file.path == path);
        let files = self.lengths.iter().filter(|(path, _)| is_source(path));
        if let Some((path, lines)) = files.max_by_key(|(_, lines)| *lines) {
            println!("longest file                    {lines} ({path})");
        }
        println!("types with Mutex or RwLock      {}", measures.locks);
        println!(
            "fields of type Option           {}",
            measures.optional_fields
        );
        println!("doc lines of five words or less {}", measures.short_docs);
        println!("public items                    {}", measures.public_items);
    }
}

fn listed(lines: &BTreeSet<usize>) -> String {
    let mut shown: Vec<String> = lines.iter().take(SHOWN).map(ToString::to_string).collect();
    if lines.len() > SHOWN {
        shown.push("…".to_owned());
    }
    shown.join(",")
}

/// Returns what is too long but not listed, and what is listed but not too long.
fn too_long(
    what: &str,
    bound: usize,
    exceptions: &[&str],
    measured: impl Iterator<Item = (String, String, usize)>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut unneeded: BTreeSet<&str> = exceptions.iter().copied().collect();
    for (place, name, lines) in measured {
        if lines > bound && !unneeded.remove(name.as_str()) {
            problems.push(format!(
                "{place}: a {what} of {lines} lines ({name}); {bound} are allowed"
            ));
        }
    }
    let unneeded = unneeded.into_iter();
    problems.extend(unneeded.map(|name| superfluous(name, "too long")));
    problems
}

fn superfluous(name: &str, listed_as: &str) -> String {
    format!(
        "{name}: listed as {listed_as}, but is not: remove it from xtask/src/layout/exceptions.rs"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_layout_holds() {
        let layout = Layout::read(&root()).expect("sources");
        assert_eq!(layout.problems(), Vec::<String>::new());
    }

    fn layout(files: &[(&str, &str)]) -> Layout {
        let root = std::env::temp_dir().join(format!(
            "layout-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        for folder in ["tests", "xtask"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for (path, text) in files {
            let path = root.join("src").join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("written");
        }
        let layout = Layout::read(&root).expect("sources");
        fs::remove_dir_all(&root).expect("removed");
        layout
    }

    #[test]
    fn a_use_upwards_is_found_however_it_is_written() {
        let lib = ("lib.rs", "pub mod api; pub mod cli;");
        let cli = ("cli/mod.rs", "mod inner; pub use inner::Deep;");
        let inner = ("cli/inner.rs", "pub struct Deep;");
        for (api, line) in [
            ("use crate::cli::Deep;", 1),
            ("\nfn f(_: crate::cli::Deep) {}", 2),
            ("use crate::cli;\n\nfn f() { cli::Deep; }", 3),
            (
                "use super::cli::{self as other};\nfn f() { println!(\"{:?}\", other::Deep); }",
                2,
            ),
        ] {
            let found = layout(&[lib, cli, inner, ("api/mod.rs", api)]).upwards();
            let expected =
                format!("src/api/mod.rs:{line}: uses src/cli/inner.rs, but cli is above api");
            assert_eq!(found, [expected], "{api}");
        }
        let for_tests = "#[cfg(test)]\nmod tests { use crate::cli::Deep; }";
        assert!(
            layout(&[lib, cli, inner, ("api/mod.rs", for_tests)])
                .upwards()
                .is_empty()
        );
        let down = ("cli/inner.rs", "use crate::api::Low; pub struct Deep(Low);");
        let api = ("api/mod.rs", "pub struct Low;");
        assert!(layout(&[lib, cli, down, api]).upwards().is_empty());
    }

    #[test]
    fn within_the_core_a_use_upwards_is_found_too() {
        let lib = ("lib.rs", "pub mod core;");
        let core = ("core/mod.rs", "mod app; mod token; pub use app::App;");
        let app = ("core/app/mod.rs", "pub struct App;");
        let token = ("core/token/mod.rs", "pub struct Token(super::App);");
        let expected = "src/core/token/mod.rs:1: uses src/core/app/mod.rs, but app is above token";
        assert_eq!(layout(&[lib, core, app, token]).upwards(), [expected]);
        let app = (
            "core/app/mod.rs",
            "use super::token::Token; pub struct App(Token);",
        );
        let token = ("core/token/mod.rs", "pub struct Token;");
        assert!(layout(&[lib, core, app, token]).upwards().is_empty());
    }

    #[test]
    fn a_circle_is_found_through_re_exports_and_a_re_export_alone_makes_none() {
        let lib = ("lib.rs", "pub mod api;");
        let a = ("api/a.rs", "use super::B; pub struct A(B);");
        let api = |text| ("api/mod.rs", text);
        let re_exports = "mod a; mod b; pub use a::A; pub use b::B; pub struct C;";
        let b = ("api/b.rs", "use super::C; pub struct B(C);");
        assert!(layout(&[lib, api(re_exports), a, b]).circles().is_empty());
        let b = ("api/b.rs", "pub struct B(Option<Box<super::A>>);");
        let circular = layout(&[lib, api(re_exports), a, b]);
        let circles = circular.circles();
        assert_eq!(circles.len(), 1);
        let told = "a circle of 2 files:\n  src/api/a.rs:1: uses src/api/b.rs\n  src/api/b.rs:1: uses src/api/a.rs";
        assert_eq!(circular.described(&circles[0]), told);
    }

    #[test]
    fn what_is_too_long_is_listed_and_what_is_listed_is_too_long() {
        let long = || [("a.rs:7".to_owned(), "a.rs::f".to_owned(), 61)].into_iter();
        assert_eq!(
            too_long("function", 60, &["a.rs::f"], long()),
            Vec::<String>::new()
        );
        assert_eq!(too_long("function", 61, &[], long()), Vec::<String>::new());
        assert_eq!(too_long("function", 60, &[], long()).len(), 1);
        assert_eq!(too_long("function", 61, &["a.rs::f"], long()).len(), 1);
    }
}
