//! Uses between files: imports and paths, resolved to the file that defines the name.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, Macro};

use super::source::{Crate, Target, attributes, is_for_tests, is_re_export, leaves};

/// Pairs of a file and another one that it uses, with the lines of the uses.
pub(super) type Uses = BTreeMap<(usize, usize), BTreeSet<usize>>;

/// Returns all uses between files, except in tests.
pub(super) fn uses(source: &Crate) -> Uses {
    let mut uses = Uses::new();
    for (file, read) in source.files.iter().enumerate() {
        let mut visitor = Visitor {
            source,
            file,
            module: read.module,
            uses: &mut uses,
        };
        visitor.visit_file(&read.syntax);
    }
    uses
}

struct Visitor<'a> {
    source: &'a Crate,
    file: usize,
    module: usize,
    uses: &'a mut Uses,
}

impl Visitor<'_> {
    fn record(&mut self, path: &[String], line: usize) {
        let target = self.source.resolve(self.module, path);
        // A path that ends at a module uses nothing in its file.
        if let Some(Target::File(to)) = target
            && to != self.file
        {
            self.uses.entry((self.file, to)).or_default().insert(line);
        }
    }

    /// Records paths in the arguments of a macro, which are not parsed. A single name counts only if it cannot be a
    /// variable.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match &token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.end_of_path(&mut path, line);
                    }
                    path.push(name.to_string());
                    line = name.span().start().line;
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    if colons == 1 && mark.spacing() == Spacing::Alone {
                        self.end_of_path(&mut path, line);
                        colons = 0;
                    }
                    continue;
                }
                _ => {}
            }
            self.end_of_path(&mut path, line);
            colons = 0;
            if let TokenTree::Group(group) = token {
                self.scan(group.stream());
            }
        }
        self.end_of_path(&mut path, line);
    }

    fn end_of_path(&mut self, path: &mut Vec<String>, line: usize) {
        let is_name = |name: &String| name.starts_with(char::is_uppercase);
        if path.len() > 1 || path.first().is_some_and(is_name) {
            self.record(path, line);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, declared: &'ast ItemMod) {
        if declared.content.is_none() {
            return;
        }
        let outer = self.module;
        let name = declared.ident.to_string();
        if let Some(inner) = self.source.modules[outer].children.get(&name) {
            self.module = *inner;
            visit::visit_item_mod(self, declared);
            self.module = outer;
        }
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        if is_re_export(import) {
            return;
        }
        for leaf in leaves(&import.tree) {
            self.record(&leaf.path, import.span().start().line);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string());
            self.record(&names.collect::<Vec<_>>(), path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.scan(called.tokens.clone());
        visit::visit_macro(self, called);
    }
}

/// Returns the sets of files that all use each other, directly or indirectly.
pub(super) fn circles(files: usize, uses: &Uses) -> Vec<BTreeSet<usize>> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); files];
    for (from, to) in uses.keys() {
        next[*from].push(*to);
    }
    let reached: Vec<BTreeSet<usize>> = (0..files).map(|file| reachable(&next, file)).collect();
    let mut found: Vec<BTreeSet<usize>> = Vec::new();
    for file in 0..files {
        let back = |other: &&usize| reached[**other].contains(&file);
        let circle: BTreeSet<usize> = reached[file].iter().filter(back).copied().collect();
        if circle.len() > 1 && !found.contains(&circle) {
            found.push(circle);
        }
    }
    found
}

/// Returns every file that a file uses, directly or indirectly.
fn reachable(next: &[Vec<usize>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = next[from].clone();
    while let Some(file) = open.pop() {
        if reached.insert(file) {
            open.extend(&next[file]);
        }
    }
    reached
}
