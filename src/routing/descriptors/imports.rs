//! The imports of files: completed, spelled out, and left out where nothing needs
//! them.
//!
//! Servers and compilers leave files out of their sets. The files that come with
//! every protobuf runtime are known here. Others are imported for their options
//! alone, such as `google/api/annotations.proto` or `validate/validate.proto`: no
//! message has a field of their types, and options that are not known are passed
//! over anyway.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use prost_reflect::DescriptorPool;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

use super::DescriptorError;

/// Files by name.
pub(super) type Files = BTreeMap<String, FileDescriptorProto>;

/// Settles the imports of files. `roots` are the files that are wanted for
/// themselves; `None`: all are.
pub(super) fn settle(files: &mut Files, roots: Option<&[String]>) -> Result<(), DescriptorError> {
    add_well_known(files);
    spell_out_public_imports(files);
    let is_missing = |import: &String| !files.contains_key(import);
    if files.values().any(|file| file.dependency.iter().any(is_missing)) {
        leave_out(files, roots)?;
    }
    Ok(())
}

/// Adds the imports that every runtime has.
fn add_well_known(files: &mut Files) {
    let well_known = DescriptorPool::global();
    let mut unchecked: Vec<String> = files.keys().cloned().collect();
    while let Some(name) = unchecked.pop() {
        let imports = files.get(&name).map(|file| file.dependency.clone()).unwrap_or_default();
        for import in imports.into_iter().filter(|import| is_well_known(import)) {
            if !files.contains_key(&import)
                && let Some(file) = well_known.get_file_by_name(&import)
            {
                files.insert(import.clone(), file.file_descriptor_proto().clone());
                unchecked.push(import);
            }
        }
    }
}

fn is_well_known(import: &str) -> bool {
    import.starts_with("google/protobuf/")
}

/// Makes every file import all that it sees by way of public imports.
///
/// prost-reflect follows public imports for one step only; and where they go in
/// a circle, until the stack is full.
fn spell_out_public_imports(files: &mut Files) {
    let public: HashMap<String, Vec<String>> =
        files.iter().map(|(name, file)| (name.clone(), public_imports(file))).collect();
    for file in files.values_mut() {
        let mut seen: HashSet<String> = file.dependency.iter().cloned().collect();
        let mut unfollowed = file.dependency.clone();
        while let Some(import) = unfollowed.pop() {
            for further in public.get(&import).into_iter().flatten() {
                if seen.insert(further.clone()) {
                    file.dependency.push(further.clone());
                    unfollowed.push(further.clone());
                }
            }
        }
        file.public_dependency.clear();
    }
}

fn public_imports(file: &FileDescriptorProto) -> Vec<String> {
    let import = |index: &i32| file.dependency.get(usize::try_from(*index).ok()?).cloned();
    file.public_dependency.iter().filter_map(import).collect()
}

/// Leaves out imports that are missing and that no message needs; an error if
/// one does. Extensions that need one are left out with it: their values stay
/// unknown fields.
fn leave_out(files: &mut Files, roots: Option<&[String]>) -> Result<(), DescriptorError> {
    let types = types_of(files);
    let missing: HashMap<String, Vec<String>> = files
        .iter()
        .map(|(name, file)| {
            let gone = file.dependency.iter().filter(|import| !files.contains_key(*import));
            (name.clone(), gone.cloned().collect())
        })
        .collect();
    if let Some(roots) = roots {
        let needed = needed_by(roots, files, &types);
        files.retain(|name, _| needed.contains(name));
    }
    let names: HashSet<String> = files.keys().cloned().collect();
    for (name, file) in files.iter_mut() {
        if file.dependency.iter().all(|import| names.contains(import)) {
            continue;
        }
        drop_extensions(file, &types);
        let mut defined_in = BTreeSet::new();
        for needs in references(file) {
            match types.get(&needs) {
                Some(file) => drop(defined_in.insert(file.clone())),
                None => {
                    let gone = missing.get(name).map(Vec::as_slice).unwrap_or_default();
                    let import = likeliest(gone, &needs);
                    return Err(DescriptorError::MissingImport {
                        file: name.clone(),
                        import,
                        needs,
                    });
                }
            }
        }
        file.dependency.retain(|import| names.contains(import));
        // Under another path than the importer knows.
        defined_in.retain(|defined_in| defined_in != name && !file.dependency.contains(defined_in));
        file.dependency.extend(defined_in);
        file.weak_dependency.clear();
    }
    Ok(())
}

/// The files that the messages and services of `roots` need, these included.
fn needed_by(roots: &[String], files: &Files, types: &HashMap<String, String>) -> HashSet<String> {
    let mut needed = HashSet::new();
    let mut unfollowed: Vec<&String> = roots.iter().collect();
    while let Some(name) = unfollowed.pop() {
        let Some(file) = files.get(name).filter(|_| needed.insert(name.clone())) else { continue };
        let defined_in = references(file).into_iter().filter_map(|needs| types.get(&needs));
        unfollowed.extend(defined_in);
    }
    needed
}

/// Of the missing imports the one that may define a type: by the common part of
/// package and path.
fn likeliest(missing: &[String], needs: &str) -> String {
    let package = needs.rsplit_once('.').map_or("", |(package, _)| package);
    let in_common = |import: &&String| {
        let path = import.trim_end_matches(".proto").split('/');
        path.zip(package.split('.')).take_while(|(step, name)| step == name).count()
    };
    // The first of several equally likely files.
    missing.iter().rev().max_by_key(in_common).cloned().unwrap_or_default()
}

/// Every type that is defined, by its full name, with the file that does it.
fn types_of(files: &Files) -> HashMap<String, String> {
    let mut types = HashMap::new();
    for (name, file) in files {
        let package = file.package();
        let mut define = |full_name: String| drop(types.insert(full_name, name.clone()));
        for of in &file.enum_type {
            define(join(package, of.name()));
        }
        let mut unfollowed: Vec<(String, &DescriptorProto)> =
            file.message_type.iter().map(|of| (join(package, of.name()), of)).collect();
        while let Some((full_name, message)) = unfollowed.pop() {
            let within = |name: &str| join(&full_name, name);
            message
                .enum_type
                .iter()
                .map(EnumDescriptorProto::name)
                .for_each(|of| define(within(of)));
            unfollowed.extend(message.nested_type.iter().map(|of| (within(of.name()), of)));
            define(full_name);
        }
    }
    types
}

/// The types that a file's messages, extensions and services refer to by their
/// full names, as every compiler writes them.
fn references(file: &FileDescriptorProto) -> Vec<String> {
    let mut names = Vec::new();
    let mut refer = |name: &str| names.extend(name.strip_prefix('.').map(str::to_owned));
    for method in file.service.iter().flat_map(|service| &service.method) {
        refer(method.input_type());
        refer(method.output_type());
    }
    let mut field = |field: &FieldDescriptorProto| {
        refer(field.type_name());
        refer(field.extendee());
    };
    file.extension.iter().for_each(&mut field);
    let mut unfollowed: Vec<&DescriptorProto> = file.message_type.iter().collect();
    while let Some(message) = unfollowed.pop() {
        message.field.iter().chain(&message.extension).for_each(&mut field);
        unfollowed.extend(&message.nested_type);
    }
    names
}

/// Takes out extensions whose extended message or own type is missing.
fn drop_extensions(file: &mut FileDescriptorProto, types: &HashMap<String, String>) {
    let is_known = |name: &str| name.strip_prefix('.').is_none_or(|name| types.contains_key(name));
    let is_whole =
        |field: &FieldDescriptorProto| is_known(field.extendee()) && is_known(field.type_name());
    file.extension.retain(is_whole);
    let mut unfollowed: Vec<&mut DescriptorProto> = file.message_type.iter_mut().collect();
    while let Some(message) = unfollowed.pop() {
        message.extension.retain(is_whole);
        unfollowed.extend(&mut message.nested_type);
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
