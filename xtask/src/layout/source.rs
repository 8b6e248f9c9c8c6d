//! Sources of the operator's crate: its module tree, and which items are compiled only for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned as _;
use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

use crate::Failure;

/// A file of the crate that is compiled into the program.
pub(super) struct SourceFile {
    /// Path from the repository's root, with slashes.
    pub(super) path: String,
    pub(super) text: String,
    pub(super) syntax: syn::File,
    /// Index of its module.
    pub(super) module: usize,
}

/// A module, in its own file or inline.
pub(super) struct Module {
    pub(super) file: usize,
    pub(super) parent: Option<usize>,
    pub(super) children: BTreeMap<String, usize>,
    defined: BTreeSet<String>,
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

/// What a path resolves to.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Module(usize),
    /// The file that defines the name.
    File(usize),
}

/// All modules and files, except those only for tests.
#[derive(Default)]
pub(super) struct Crate {
    pub(super) files: Vec<SourceFile>,
    pub(super) modules: Vec<Module>,
    name: String,
}

/// Maximum length of a chain of re-exports, longer than any in the sources.
const DEPTH_MAX: usize = 16;

impl Crate {
    /// Reads the library and the program of a package in `root`.
    pub(super) fn read(root: &Path, name: &str) -> Result<Self, Failure> {
        let mut source = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        for entry in ["src/lib.rs", "src/main.rs"] {
            if root.join(entry).is_file() {
                source.read_file(root, Path::new(entry), Path::new("src"), None)?;
            }
        }
        Ok(source)
    }

    fn read_file(
        &mut self,
        root: &Path,
        path: &Path,
        folder: &Path,
        parent: Option<usize>,
    ) -> Result<usize, Failure> {
        let shown = shown(path);
        let text =
            fs::read_to_string(root.join(path)).map_err(|error| format!("{shown}: {error}"))?;
        let syntax = syn::parse_file(&text).map_err(|error| format!("{shown}: {error}"))?;
        let items = syntax.items.clone();
        let (file, module) = (self.files.len(), self.modules.len());
        self.files.push(SourceFile {
            path: shown,
            text,
            syntax,
            module,
        });
        self.add_module(file, parent);
        self.read_items(root, module, &items, folder)?;
        Ok(module)
    }

    fn add_module(&mut self, file: usize, parent: Option<usize>) -> usize {
        self.modules.push(Module {
            file,
            parent,
            children: BTreeMap::new(),
            defined: BTreeSet::new(),
            imports: BTreeMap::new(),
            globs: Vec::new(),
        });
        self.modules.len() - 1
    }

    fn read_items(
        &mut self,
        root: &Path,
        module: usize,
        items: &[Item],
        folder: &Path,
    ) -> Result<(), Failure> {
        for item in items {
            if is_for_tests(attributes(item)) {
                continue;
            }
            match item {
                Item::Mod(declared) => {
                    let name = declared.ident.to_string();
                    let below = folder.join(&name);
                    let child = match &declared.content {
                        Some((_, items)) => {
                            let child = self.add_module(self.modules[module].file, Some(module));
                            self.read_items(root, child, items, &below)?;
                            child
                        }
                        None => {
                            let beside = folder.join(format!("{name}.rs"));
                            let path = match root.join(&beside).is_file() {
                                true => beside,
                                false => below.join("mod.rs"),
                            };
                            self.read_file(root, &path, &below, Some(module))?
                        }
                    };
                    self.modules[module].children.insert(name, child);
                }
                Item::Use(import) => {
                    for leaf in leaves(&import.tree) {
                        self.import(module, leaf);
                    }
                }
                item => self.modules[module].defined.extend(defined(item)),
            }
        }
        Ok(())
    }

    /// Records a name that a module imports.
    fn import(&mut self, module: usize, leaf: Leaf) {
        let module = &mut self.modules[module];
        match leaf.name {
            Some(name) => drop(module.imports.insert(name, leaf.path)),
            None => module.globs.push(leaf.path),
        }
    }

    /// Resolves a path in a module through imports and re-exports.
    pub(super) fn resolve(&self, module: usize, path: &[String]) -> Option<Target> {
        self.follow(module, path, DEPTH_MAX)
    }

    fn follow(&self, module: usize, path: &[String], depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(self.root_of(module)),
            "self" => Target::Module(module),
            "super" => Target::Module(self.modules[module].parent?),
            name if name == self.name => Target::Module(0),
            name => self.find(module, name, depth)?,
        };
        for name in rest {
            let Target::Module(module) = target else {
                break;
            };
            target = match name.as_str() {
                "super" => Target::Module(self.modules[module].parent?),
                "self" => target,
                name => self.find(module, name, depth)?,
            };
        }
        Some(target)
    }

    fn find(&self, number: usize, name: &str, depth: usize) -> Option<Target> {
        let module = &self.modules[number];
        if let Some(child) = module.children.get(name) {
            return Some(Target::Module(*child));
        }
        if module.defined.contains(name) {
            return Some(Target::File(module.file));
        }
        if let Some(path) = module.imports.get(name) {
            return self.follow(number, path, depth);
        }
        let depth = depth.checked_sub(1)?;
        module
            .globs
            .iter()
            .find_map(|path| match self.follow(number, path, depth)? {
                Target::Module(from) => self.find(from, name, depth),
                Target::File(file) => Some(Target::File(file)),
            })
    }

    fn root_of(&self, mut module: usize) -> usize {
        while let Some(parent) = self.modules[module].parent {
            module = parent;
        }
        module
    }
}

/// Returns a path as messages show it.
pub(super) fn shown(path: &Path) -> String {
    let parts = path.iter().map(|part| part.to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

/// Returns every Rust file in a folder.
pub(super) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// One path of an import, and the name that it introduces; `None` for a glob.
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    name: Option<String>,
}

/// Returns all names of an import.
pub(super) fn leaves(tree: &UseTree) -> Vec<Leaf> {
    let mut found = Vec::new();
    collect(tree, &mut Vec::new(), &mut found);
    found
}

fn collect(tree: &UseTree, path: &mut Vec<String>, found: &mut Vec<Leaf>) {
    let mut leaf = |path: &[String], name: Option<String>| {
        found.push(Leaf {
            path: path.to_vec(),
            name,
        });
    };
    match tree {
        UseTree::Path(part) => {
            path.push(part.ident.to_string());
            collect(&part.tree, path, found);
            path.pop();
        }
        UseTree::Name(last) if last.ident == "self" => leaf(path, path.last().cloned()),
        UseTree::Name(last) => {
            path.push(last.ident.to_string());
            leaf(path, path.last().cloned());
            path.pop();
        }
        UseTree::Rename(last) => {
            path.push(last.ident.to_string());
            leaf(path, Some(last.rename.to_string()));
            path.pop();
        }
        UseTree::Glob(_) => leaf(path, None),
        UseTree::Group(group) => {
            for tree in &group.items {
                collect(tree, path, found);
            }
        }
    }
}

pub(super) fn is_re_export(import: &ItemUse) -> bool {
    !matches!(import.vis, Visibility::Inherited)
}

/// Whether an item with these attributes is compiled only for tests.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Ident>()
                    .is_ok_and(|condition| condition == "test")
    })
}

pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// Returns the lines of a file's items that are compiled only for tests.
pub(super) fn test_lines(file: &syn::File) -> Vec<RangeInclusive<usize>> {
    let items = file.items.iter();
    let tests = items.filter(|item| is_for_tests(attributes(item)));
    tests
        .map(|item| item.span().start().line..=item.span().end().line)
        .collect()
}
