//! Circles of files: each can only be understood, tested and moved with the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use crate::source::Use;

/// Files that use each other, directly or by way of others, each circle sorted.
pub fn circles(uses: &BTreeSet<Use>) -> Vec<Vec<PathBuf>> {
    let mut graph = DiGraph::new();
    let mut nodes = BTreeMap::new();
    for one in uses {
        let mut node = |file: &PathBuf| {
            *nodes.entry(file.clone()).or_insert_with(|| graph.add_node(file.clone()))
        };
        let (from, to) = (node(&one.from), node(&one.to));
        graph.add_edge(from, to, ());
    }
    let circles = tarjan_scc(&graph).into_iter().filter(|circle| circle.len() > 1);
    let mut circles: Vec<Vec<_>> = circles
        .map(|circle| {
            let mut files: Vec<_> = circle.iter().map(|node| graph[*node].clone()).collect();
            files.sort();
            files
        })
        .collect();
    circles.sort();
    circles
}

/// A circle for the reader: the uses that make it, and the names in them.
pub fn report(circle: &[PathBuf], uses: &BTreeSet<Use>) -> String {
    let mut names: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for one in uses.iter().filter(|one| circle.contains(&one.from) && circle.contains(&one.to)) {
        names.entry((&one.from, &one.to)).or_default().insert(one.path.as_str());
    }
    let lines = names.into_iter().map(|((from, to), names)| {
        let names: Vec<_> = names.into_iter().collect();
        format!("    {} uses {}: {}\n", from.display(), to.display(), names.join(", "))
    });
    let files: Vec<_> = circle.iter().map(|file| file.display().to_string()).collect();
    format!("{}:\n{}", files.join(" "), lines.collect::<String>())
}
