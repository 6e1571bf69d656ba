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
        let mut patterns = Vec::<Node>::from_yaml(node, faults)?;
        // As to Alertmanager, an empty one names no file.
        patterns.retain(|pattern| pattern.as_str() != Some(""));
        for pattern in patterns.iter().filter(|p| p.as_str().is_none()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::section;
    use crate::sinks::Text;
    use crate::sinks::notification::tests::example;
    use crate::yaml::Document;

    section! {
        /// A part of a configuration with a text.
        pub struct Section {
            /// A text.
            pub text: Text = Text::new("{{ template \"slack.default.title\" . }}"),
            /// Files.
            pub templates: Templates = Templates::default(),
        }
    }

    /// Reads a configuration beside these files; the faults without the directory's name.
    fn read(files: &[(&str, &str)], config: &str) -> (Section, String) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut faults = Faults::default();
        let mut section: Section = Document::parse("a.yaml", config, &mut faults).read(&mut faults);
        section.templates.read(dir.path(), &mut faults);
        (section, faults.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    fn filled(section: &Section) -> String {
        let texts = section.templates.texts();
        texts.plain(&section.text, &texts.data(&example())).unwrap()
    }

    #[test]
    fn a_later_file_and_any_file_take_the_place_of_what_was_there() {
        let files = [
            ("1.tmpl", "{{ define \"x\" }}first{{ end }}{{ define \"__subject\" }}mine: {{ .Status }}{{ end }}"),
            ("2.tmpl", "{{ define \"x\" }}second {{ template \"slack.default.title\" . }}{{ end }}"),
            ("3.txt", "{{ define \"x\" }}not read{{ end }}"),
        ];
        let (section, faults) = read(&files, "text: '{{ template \"x\" . }}'\ntemplates: ['*.tmpl']\n");
        assert_eq!(faults, "");
        assert_eq!(filled(&section), "second mine: firing");
    }

    #[test]
    fn what_is_wrong_is_said_with_file_line_and_column() {
        let files = [("bad.tmpl", "{{ define \"a\" }}\n  {{ toUper .Status }}{{ end }}")];
        let (_, faults) = read(&files, "templates: [bad.tmpl, none-*.tmpl, '.']\n");
        for part in [
            "bad.tmpl:2:6: the template is not valid: function \"toUper\" not defined, did you mean \"toUpper\"?",
            "a.yaml:1:23: warning: no file with templates is named \"none-*.tmpl\"",
            "a.yaml:1:36: file with templates",
        ] {
            assert!(faults.contains(part), "{part} is not in\n{faults}");
        }
    }

    #[test]
    fn a_template_that_is_defined_nowhere_is_a_fault_where_it_is_called() {
        let files = [("a.tmpl", "{{ define \"a\" }}{{ range .Alerts }}{{ template \"b\" . }}{{ end }}{{ end }}")];
        let (_, faults) =
            read(&files, "text: |\n  x\n  {{ template \"slack.default.titel\" . }}\ntemplates: [a.tmpl]\n");
        for part in [
            "a.tmpl:1:36: the template \"b\" is defined nowhere: define it in a file that templates names",
            "a.yaml:3:3: the template \"slack.default.titel\" is defined nowhere, did you mean \"slack.default.title\"?",
        ] {
            assert!(faults.contains(part), "{part} is not in\n{faults}");
        }
        assert!(
            read(&[], "text: '{{ template \"nope\" }}'\n").1.contains("a.yaml:1:8: the template \"nope\" is defined")
        );
        assert_eq!(read(&[], "text: '{{ define \"own\" }}x{{ end }}{{ template \"own\" }}'\n").1, "");
    }

    #[test]
    fn a_field_that_is_not_there_is_a_warning_before_anything_is_sent() {
        let (_, faults) = read(&[], "text: 'on {{ .Hots }}'\n");
        assert!(
            faults.contains("warning: the template will fail: can't evaluate field Hots in type template.Data"),
            "{faults}"
        );
        assert_eq!(read(&[], "text: '{{ (index .Alerts.Firing 3).Labels.a }} {{ .CommonLabels.nope }}'\n").1, "");
    }

    #[test]
    fn a_text_that_is_no_template_is_a_fault_at_its_place() {
        let (_, faults) = read(&[], "text: 'abc {{ .Status | nope }}'\n");
        assert!(faults.starts_with("a.yaml:1:"), "{faults}");
        assert!(faults.contains("the template is not valid: function \"nope\" not defined"), "{faults}");
    }
}
