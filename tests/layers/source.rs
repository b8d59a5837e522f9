//! The crate's source as a graph: which file uses items of which other file.
//!
//! Paths are resolved as the compiler does it, through imports and re-exports, to the
//! module that defines the item. Not seen: methods and fields of values, since their
//! types need inference, and code that macros generate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A module's path from the root of the crate, which is empty.
pub type ModulePath = Vec<String>;

/// The `cfg` option of unit tests, whose code is not read.
const TESTS_ONLY: &str = "test";

/// All modules of the crate, but for those of unit tests.
#[derive(Default)]
pub struct Source {
    modules: BTreeMap<ModulePath, Module>,
}

/// One module, in a file of its own or within the file of another.
#[derive(Default)]
struct Module {
    file: PathBuf,
    /// Names that it defines, apart from modules.
    items: BTreeSet<String>,
    imports: Vec<Import>,
    /// Paths that its code names, outside of imports.
    mentions: BTreeSet<Vec<String>>,
}

struct Import {
    /// The name in this module; `*` of a glob.
    name: String,
    target: Vec<String>,
    /// Others may use the name as well: a re-export.
    exported: bool,
}

/// The target of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Module(ModulePath),
    /// An item, by the module that defines it.
    Item(ModulePath),
}

/// A path in one file that leads to an item of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The file that has the path, from `src`.
    pub from: PathBuf,
    /// The module that has the path.
    pub user: ModulePath,
    /// The file that defines the item.
    pub to: PathBuf,
    /// The module that defines the item.
    pub owner: ModulePath,
    /// The path as it is written.
    pub path: String,
}

impl Source {
    /// The crate whose root is this file.
    pub fn read(root: &Path) -> Self {
        let mut source = Self::default();
        let dir = root.parent().unwrap();
        source.add_file(Vec::new(), root, dir, dir);
        source
    }

    /// The same for files that are given as text, by their paths.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self::read(&dir.path().join("lib.rs"))
    }

    /// Every file, with the path of its module.
    pub fn files(&self) -> BTreeMap<PathBuf, ModulePath> {
        let mut files = BTreeMap::new();
        for (path, module) in &self.modules {
            files.entry(module.file.clone()).or_insert_with(|| path.clone());
        }
        files
    }

    /// Uses of items of other files. A re-export of items below the module is not
    /// a use: names are passed on, and no code of it depends on them.
    pub fn uses(&self) -> BTreeSet<Use> {
        let mut uses = BTreeSet::new();
        for (path, module) in &self.modules {
            for mention in &module.mentions {
                self.add_use(path, mention, &mut uses);
            }
            for import in &module.imports {
                let found = self.resolve(path, &import.target, 0);
                let below = matches!(&found, Some(Found::Item(owner)) if owner.starts_with(path));
                if !(import.exported && below) {
                    self.add_use(path, &import.target, &mut uses);
                }
            }
        }
        uses
    }

    fn add_use(&self, user: &ModulePath, path: &[String], uses: &mut BTreeSet<Use>) {
        let Some(Found::Item(owner)) = self.resolve(user, path, 0) else { return };
        let (from, to) = (&self.modules[user].file, &self.modules[&owner].file);
        if from != to {
            uses.insert(Use {
                from: from.clone(),
                user: user.clone(),
                to: to.clone(),
                owner,
                path: path.join("::"),
            });
        }
    }

    /// The target of a path that a module names. `None`: it is outside of the crate,
    /// or local.
    fn resolve(&self, module: &ModulePath, path: &[String], depth: usize) -> Option<Found> {
        let (first, rest) = path.split_first()?;
        if depth > 20 {
            return None;
        }
        match first.as_str() {
            "crate" => self.descend(&Vec::new(), rest, depth),
            "self" => self.descend(module, rest, depth),
            "super" => self.descend(&module[..module.len().checked_sub(1)?].to_vec(), rest, depth),
            name => {
                let known = self.provides(module, name, depth);
                // A name alone is no module: if it looks like one, it is a variable.
                let child = !rest.is_empty() && self.modules.contains_key(&child(module, name));
                (known || child).then(|| self.descend(module, path, depth)).flatten()
            }
        }
    }

    /// Follows the rest of a path within a module.
    fn descend(&self, module: &ModulePath, path: &[String], depth: usize) -> Option<Found> {
        let Some((name, rest)) = path.split_first() else {
            return Some(Found::Module(module.clone()));
        };
        if name == "super" {
            let parent = module[..module.len().checked_sub(1)?].to_vec();
            return self.descend(&parent, rest, depth);
        }
        if name == "*" {
            return Some(Found::Item(module.clone()));
        }
        let below = child(module, name);
        let is_module = self.modules.contains_key(&below);
        let here = self.modules.get(module)?;
        let import = here.imports.iter().find(|i| i.name == *name && i.target != [name.clone()]);
        // An item and a module may share a name; a longer path means the module.
        if is_module && (!rest.is_empty() || import.is_none() && !here.items.contains(name)) {
            return self.descend(&below, rest, depth);
        }
        if let Some(import) = import {
            return match self.resolve(module, &import.target, depth + 1)? {
                Found::Module(path) if !rest.is_empty() => self.descend(&path, rest, depth + 1),
                found => Some(found),
            };
        }
        if here.items.contains(name) {
            return Some(Found::Item(module.clone()));
        }
        for glob in here.imports.iter().filter(|i| i.name == "*") {
            let target = &glob.target[..glob.target.len() - 1];
            if let Some(Found::Module(target)) = self.resolve(module, target, depth + 1)
                && self.provides(&target, name, depth + 1)
            {
                return self.descend(&target, path, depth + 1);
            }
        }
        // Made by a macro, as the messages of `proto` are.
        Some(Found::Item(module.clone()))
    }

    /// Whether a module has an item of that name, by definition or import.
    fn provides(&self, module: &ModulePath, name: &str, depth: usize) -> bool {
        let Some(here) = self.modules.get(module) else { return false };
        here.items.contains(name)
            || here.imports.iter().any(|i| i.name == name && i.target != [name])
            || here.imports.iter().filter(|i| i.name == "*" && depth < 20).any(|glob| {
                let target = &glob.target[..glob.target.len() - 1];
                matches!(self.resolve(module, target, depth + 1),
                    Some(Found::Module(target)) if self.provides(&target, name, depth + 1))
            })
    }

    fn add_file(&mut self, path: ModulePath, file: &Path, children: &Path, src: &Path) {
        let text = fs::read_to_string(file).unwrap();
        let parsed = syn::parse_file(&text).unwrap();
        let mut reader = Reader {
            source: self,
            file: file.strip_prefix(src).unwrap().to_owned(),
            module: path,
            files: Vec::new(),
        };
        reader.enter();
        reader.visit_file(&parsed);
        for declared in reader.files {
            let below = declared.iter().skip(self.depth_of(file, src));
            let base = below.fold(children.to_owned(), |dir, name| dir.join(name));
            let (flat, nested) = (base.with_extension("rs"), base.join("mod.rs"));
            let file = if flat.exists() { flat } else { nested };
            self.add_file(declared, &file, &base, src);
        }
    }

    /// How many segments the path of a file's own module has.
    fn depth_of(&self, file: &Path, src: &Path) -> usize {
        let file = file.strip_prefix(src).unwrap();
        self.modules.iter().find(|(_, module)| module.file == file).unwrap().0.len()
    }
}

fn child(module: &ModulePath, name: &str) -> ModulePath {
    let mut path = module.clone();
    path.push(name.to_owned());
    path
}

/// Collects a file's definitions, imports and paths.
struct Reader<'a> {
    source: &'a mut Source,
    file: PathBuf,
    module: ModulePath,
    /// Modules that have files of their own.
    files: Vec<ModulePath>,
}

impl Reader<'_> {
    fn enter(&mut self) {
        let module = Module { file: self.file.clone(), ..Module::default() };
        self.source.modules.insert(self.module.clone(), module);
    }

    fn here(&mut self) -> &mut Module {
        self.source.modules.get_mut(&self.module).unwrap()
    }

    fn import(&mut self, prefix: &[String], tree: &syn::UseTree, exported: bool) {
        let path = |name: &syn::Ident| {
            let mut path = prefix.to_vec();
            if name != "self" || prefix.is_empty() {
                path.push(name.to_string());
            }
            path
        };
        let (name, target) = match tree {
            syn::UseTree::Path(tree) => {
                return self.import(&path(&tree.ident), &tree.tree, exported);
            }
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(prefix, tree, exported));
            }
            syn::UseTree::Name(tree) => {
                let target = path(&tree.ident);
                (target.last().unwrap().clone(), target)
            }
            syn::UseTree::Rename(tree) => (tree.rename.to_string(), path(&tree.ident)),
            syn::UseTree::Glob(_) => ("*".to_owned(), [prefix, &["*".to_owned()]].concat()),
        };
        self.here().imports.push(Import { name, target, exported });
    }

    /// Paths among the tokens of a macro's call or definition.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut after_dot = false;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.mention(std::mem::take(&mut path));
                    }
                    // A field, or another token sequence that is not a path.
                    if colons == 2 && path.is_empty() || after_dot {
                        path = Vec::new();
                    } else {
                        path.push(ident.to_string());
                    }
                    (colons, after_dot) = (0, false);
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Punct(punct) => {
                    self.mention(std::mem::take(&mut path));
                    (colons, after_dot) = (0, punct.as_char() == '.');
                    continue;
                }
                TokenTree::Group(group) => {
                    self.mention(std::mem::take(&mut path));
                    self.tokens(group.stream());
                    colons = 0;
                }
                TokenTree::Literal(_) => colons = 0,
            }
            after_dot = false;
        }
        self.mention(path);
    }

    fn mention(&mut self, path: Vec<String>) {
        if !path.is_empty() {
            self.here().mentions.insert(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (name, attrs) = match item {
            syn::Item::Const(i) => (Some(&i.ident), &i.attrs),
            syn::Item::Enum(i) => (Some(&i.ident), &i.attrs),
            syn::Item::Fn(i) => (Some(&i.sig.ident), &i.attrs),
            syn::Item::Macro(i) => (i.ident.as_ref(), &i.attrs),
            syn::Item::Static(i) => (Some(&i.ident), &i.attrs),
            syn::Item::Struct(i) => (Some(&i.ident), &i.attrs),
            syn::Item::Trait(i) => (Some(&i.ident), &i.attrs),
            syn::Item::Type(i) => (Some(&i.ident), &i.attrs),
            syn::Item::Union(i) => (Some(&i.ident), &i.attrs),
            syn::Item::Impl(i) => (None, &i.attrs),
            syn::Item::Mod(i) => (None, &i.attrs),
            syn::Item::Use(i) => (None, &i.attrs),
            _ => return visit::visit_item(self, item),
        };
        if of_tests(attrs) {
            return;
        }
        if let Some(name) = name {
            let name = name.to_string();
            self.here().items.insert(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !of_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        match &item.content {
            None => self.files.push(self.module.clone()),
            Some((_, items)) => {
                self.enter();
                for item in items {
                    self.visit_item(item);
                }
            }
        }
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        // `::x` is another crate.
        if item.leading_colon.is_none() {
            self.import(&[], &item.tree, !matches!(item.vis, syn::Visibility::Inherited));
        }
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.mention(path.segments.iter().map(|s| s.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    /// Attributes name paths in strings, as `#[serde(with = "…")]` does.
    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let syn::Meta::List(list) = &attribute.meta else { return };
        for token in list.tokens.clone() {
            if let TokenTree::Literal(literal) = &token
                && let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                && let Ok(path) = text.parse::<syn::Path>()
                && path.segments.len() > 1
            {
                self.visit_path(&path);
            }
        }
        self.tokens(list.tokens.clone());
    }
}

/// Whether an item is compiled for unit tests alone.
fn of_tests(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == TESTS_ONLY)
    })
}
