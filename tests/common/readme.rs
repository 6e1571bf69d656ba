//! What the README shows.

/// The README's YAML snippets, each with the file name in its first line.
pub fn snippets(readme: &str) -> Vec<(String, String)> {
    let mut rest = readme;
    let mut found = Vec::new();
    while let Some(start) = rest.find("```yaml\n") {
        let text = &rest[start + "```yaml\n".len()..];
        let end = text.find("```").expect("the end of a snippet");
        let name = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a file name in the first line");
        found.push((name.to_string(), text[..end].to_string()));
        rest = &text[end..];
    }
    found
}
