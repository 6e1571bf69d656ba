//! A set of templates from several texts, which texts of the configuration may call.

use std::sync::Arc;

use super::parse::{self, Source, Tree, Trees};
use super::{Call, Functions, TemplateError, uses};

/// Templates by name. What is added later takes the place of what was there before, as when Go parses several files.
#[derive(Clone, Debug)]
pub struct Set {
    functions: &'static Functions,
    trees: Trees,
    /// Templates that are there unless this set has one of their name.
    below: Option<Arc<Set>>,
}

impl Set {
    /// An empty set, whose texts may call `functions`.
    pub fn new(functions: &'static Functions) -> Set {
        Set { functions, trees: Trees::new(), below: None }
    }

    /// An empty set over another one.
    pub fn over(below: Arc<Set>) -> Set {
        Set { functions: below.functions, trees: Trees::new(), below: Some(below) }
    }

    /// Adds the templates that a file defines, and what stands outside of them under the file's `name`. `file` is how
    /// errors call it.
    ///
    /// # Errors
    /// A mistake of syntax; nothing is added then.
    pub fn add(&mut self, file: &str, name: &str, text: &str) -> Result<(), TemplateError> {
        let source = Arc::new(Source { file: Some(file.into()), text: text.to_string() });
        for (name, tree) in parse::parse(name, &source, self.functions, &[])? {
            // As in Go an empty template does not take the place of another one.
            if !tree.is_empty() || !self.trees.contains_key(&name) {
                self.trees.insert(name, tree);
            }
        }
        Ok(())
    }

    /// Whether there is a template of this name.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The names of its templates, those below included, each once.
    pub fn names(&self) -> Vec<&str> {
        let below = self.below.iter().flat_map(|set| set.names());
        let mut names: Vec<&str> = self.trees.keys().map(String::as_str).chain(below).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The calls of templates that are not there, in the texts of this set.
    pub fn missing(&self) -> Vec<Call> {
        let all = self.trees.values().flat_map(|tree| uses::calls(tree));
        let mut missing: Vec<Call> = all.filter(|call| !self.has(&call.name)).collect();
        missing.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        missing
    }

    pub(super) fn get(&self, name: &str) -> Option<&Tree> {
        let own = self.trees.get(name).map(|tree| &**tree);
        own.filter(|tree| !tree.is_empty()).or_else(|| self.below.as_ref().and_then(|set| set.get(name))).or(own)
    }
}
