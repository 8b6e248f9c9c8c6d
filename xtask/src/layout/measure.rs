//! Lengths of files and functions, and the counts of `--counts`.

use std::path::Path;

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{
    Block, Field, ImplItem, ImplItemFn, Item, ItemFn, ItemImpl, Signature, Type, Visibility,
};

use super::source::{Crate, attributes, is_for_tests, test_lines};

/// A function that is compiled into the program.
pub(super) struct Function {
    pub(super) file: usize,
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) lines: usize,
}

/// Measurements of the sources.
#[derive(Default)]
pub(super) struct Measures {
    pub(super) functions: Vec<Function>,
    pub(super) lines: usize,
    pub(super) locks: usize,
    pub(super) optional_fields: usize,
    pub(super) short_docs: usize,
    pub(super) public_items: usize,
}

/// Maximum number of words of a doc line that counts as short.
const SHORT_DOC: usize = 5;

/// Measures the code that is compiled into the program.
pub(super) fn measure(source: &Crate) -> Measures {
    let mut measures = Measures::default();
    for (file, read) in source.files.iter().enumerate() {
        let tests = test_lines(&read.syntax);
        for (number, line) in read.text.lines().enumerate() {
            if tests.iter().any(|lines| lines.contains(&(number + 1))) {
                continue;
            }
            measures.lines += 1;
            let line = line.trim_start();
            let doc = line.strip_prefix("///").or(line.strip_prefix("//!"));
            let words = doc.map_or(0, |doc| doc.split_whitespace().count());
            measures.short_docs += usize::from((1..=SHORT_DOC).contains(&words));
        }
        let mut visitor = Visitor {
            file,
            owner: None,
            measures: &mut measures,
        };
        visitor.visit_file(&read.syntax);
    }
    measures
}

struct Visitor<'a> {
    file: usize,
    /// Type of the enclosing `impl`.
    owner: Option<String>,
    measures: &'a mut Measures,
}

impl Visitor<'_> {
    fn function(&mut self, signature: &Signature, body: &Block) {
        let line = signature.span().start().line;
        let name = signature.ident.to_string();
        self.measures.functions.push(Function {
            file: self.file,
            line,
            name: match &self.owner {
                Some(owner) => format!("{owner}::{name}"),
                None => name,
            },
            lines: body.span().end().line + 1 - line,
        });
    }

    fn public(&mut self, visibility: &Visibility) {
        let is_public = matches!(visibility, Visibility::Public(_));
        self.measures.public_items += usize::from(is_public);
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests(attributes(item)) {
            return;
        }
        match item {
            Item::Const(item) => self.public(&item.vis),
            Item::Enum(item) => self.public(&item.vis),
            Item::Fn(item) => self.public(&item.vis),
            Item::Mod(item) => self.public(&item.vis),
            Item::Static(item) => self.public(&item.vis),
            Item::Struct(item) => self.public(&item.vis),
            Item::Trait(item) => self.public(&item.vis),
            Item::Type(item) => self.public(&item.vis),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        let outer = self.owner.take();
        self.owner = last_name(&block.self_ty);
        visit::visit_item_impl(self, block);
        self.owner = outer;
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        match item {
            ImplItem::Fn(item) => self.public(&item.vis),
            ImplItem::Const(item) => self.public(&item.vis),
            _ => {}
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_field(&mut self, field: &'ast Field) {
        let is_optional = last_name(&field.ty).is_some_and(|name| name == "Option");
        self.measures.optional_fields += usize::from(is_optional);
        visit::visit_field(self, field);
    }

    fn visit_type_path(&mut self, named: &'ast syn::TypePath) {
        let name = named
            .path
            .segments
            .last()
            .map(|last| last.ident.to_string());
        let is_lock = name.is_some_and(|name| name == "Mutex" || name == "RwLock");
        self.measures.locks += usize::from(is_lock);
        visit::visit_type_path(self, named);
    }
}

fn last_name(named: &Type) -> Option<String> {
    match named {
        Type::Path(named) => Some(named.path.segments.last()?.ident.to_string()),
        Type::Reference(named) => last_name(&named.elem),
        _ => None,
    }
}

/// Returns the number of lines of a file, including tests.
pub(super) fn length(path: &Path) -> std::io::Result<usize> {
    Ok(std::fs::read_to_string(path)?.lines().count())
}
