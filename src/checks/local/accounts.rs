//! Users and groups of the host, from its etc/passwd and etc/group.

use crate::collect::{Roots, lines, read_small};

/// The number of a user that is given by name or number.
///
/// # Errors
/// The host has no such user, or its list cannot be read.
pub fn user_id(name: &str, roots: &Roots) -> Result<u32, String> {
    id(name, "user", "/etc/passwd", roots)
}

/// The number of a group that is given by name or number.
///
/// # Errors
/// The host has no such group, or its list cannot be read.
pub fn group_id(name: &str, roots: &Roots) -> Result<u32, String> {
    id(name, "group", "/etc/group", roots)
}

/// The name of a user; its number where the list has none.
pub fn name_of_user(uid: u32, roots: &Roots) -> String {
    let mut buffer = Vec::new();
    let text = read_small(&roots.root("/etc/passwd"), &mut buffer).unwrap_or_default();
    let name = entries(text).find(|(_, id)| *id == uid).map(|(name, _)| String::from_utf8_lossy(name).into_owned());
    name.unwrap_or_else(|| uid.to_string())
}

fn id(name: &str, kind: &str, list: &str, roots: &Roots) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let mut buffer = Vec::new();
    let text = read_small(&roots.root(list), &mut buffer).map_err(|e| e.to_string())?;
    let found = entries(text).find(|(n, _)| *n == name.as_bytes());
    found.map(|(_, id)| id).ok_or_else(|| format!("{list} knows no {kind} {name:?}"))
}

/// Names and numbers of a list: `name:password:number:...`.
fn entries(text: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
    lines(text).filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let number = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
        Some((name, number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Tree;
    use crate::fuzz::Fuzz;

    const PASSWD: &str = "root:x:0:0::/:/bin/sh\n:x:5:\nbroken\nwww-data:x:33:33::/:/x\n";

    #[test]
    fn accounts_are_known_by_name_and_number() {
        let tree = Tree::new(&[("root/etc/passwd", PASSWD), ("root/etc/group", "adm:x:4:syslog\n")]);
        let roots = tree.roots();
        assert_eq!(user_id("www-data", &roots), Ok(33));
        assert_eq!(user_id("4711", &roots), Ok(4711));
        assert_eq!(user_id("nobody", &roots).unwrap_err(), "/etc/passwd knows no user \"nobody\"");
        assert_eq!(group_id("adm", &roots), Ok(4));
        assert_eq!((name_of_user(33, &roots), name_of_user(34, &roots)), ("www-data".to_string(), "34".to_string()));
        tree.remove("root/etc/group");
        assert!(group_id("adm", &roots).unwrap_err().contains("no such file"));
    }

    #[test]
    fn no_list_of_accounts_panics() {
        Fuzz::of(&[PASSWD]).bytes(|text| {
            let _ = entries(text).count();
        });
    }
}
