//! `alerting.templates`: files of templates, in Go's syntax with Alertmanager's data and functions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Texts, embedded};
use crate::glob;
use crate::template::{Call, Set};
use crate::yaml::{Faults, FromYaml, Node, Position, Source, nearest, read_text};

/// The files that are named, and the templates in them once they have been read.
#[derive(Clone, Default, Debug)]
pub struct Templates {
    patterns: Vec<Node>,
    texts: Arc<Texts>,
}

impl FromYaml for Templates {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let patterns = Vec::<Node>::from_yaml(node, faults)?;
        for pattern in patterns.iter().filter(|p| p.as_str().is_none_or(str::is_empty)) {
            faults.unexpected(pattern, "the path of a file with templates");
        }
        Some(Templates { patterns, texts: Arc::default() })
    }
}

impl Templates {
    /// The templates that texts can call: those of the files over the embedded ones.
    pub fn texts(&self) -> Arc<Texts> {
        Arc::clone(&self.texts)
    }

    /// Reads the files, whose relative paths start at `base`, the directory of the configuration's file. Says what is
    /// wrong with them, and which templates the texts that have been read call though they are defined nowhere.
    pub fn read(&mut self, base: &Path, faults: &mut Faults) {
        let references = faults.take_references();
        if references.is_empty() && self.patterns.is_empty() {
            return;
        }
        let mut set = Set::over(Arc::clone(embedded()));
        let mut sources: BTreeMap<String, Arc<Source>> = BTreeMap::new();
        // Faults within the files name those files; they are added when all is said about the list itself.
        let mut within = faults.begin_anew();
        for pattern in &self.patterns {
            let Some(named) = pattern.as_str().filter(|p| !p.is_empty()) else { continue };
            let path = base.join(named);
            let found = glob::expand(&path.to_string_lossy());
            // A pattern that matches nothing is given back as it is.
            if found.iter().all(|path| !path.exists()) {
                faults.warn(pattern.at, format!("no file with templates is named {named:?}"));
                continue;
            }
            for path in found {
                let file = path.display().to_string();
                let text = match read_text(&path) {
                    Ok(text) => text,
                    Err(error) => {
                        faults.error(pattern.at, format!("file with templates {file}: {error}"));
                        continue;
                    }
                };
                let name = path.file_name().map_or(file.clone(), |name| name.to_string_lossy().into_owned());
                let added = set.add(&file, &name, &text);
                let source = Arc::new(Source::new(file.clone(), text));
                if let Err(error) = added {
                    within.enter(Arc::clone(&source));
                    within.error(
                        position(error.line, error.column),
                        format!("the template is not valid: {}", error.message),
                    );
                }
                sources.insert(file, source);
            }
        }
        let undefined = |name: &str| match nearest(name, set.names()) {
            Some(near) => format!("the template {name:?} is defined nowhere, did you mean {near:?}?"),
            None => format!("the template {name:?} is defined nowhere: define it in a file that templates names"),
        };
        // A file that could not be read may have had what is missing.
        if !within.has_errors() {
            for Call { name, file, line, column } in set.missing() {
                if let Some(source) = file.and_then(|file| sources.get(&*file)) {
                    within.enter(Arc::clone(source));
                    within.error(position(line, column), undefined(&name));
                }
            }
            for reference in references.iter().filter(|reference| !set.has(&reference.name)) {
                faults.error_at(reference, undefined(&reference.name));
            }
        }
        faults.extend(within);
        if !self.patterns.is_empty() {
            self.texts = Arc::new(Texts { own: Some(Arc::new(set)) });
        }
    }
}

fn position(line: usize, column: usize) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: number(line), column: number(column) }
}
