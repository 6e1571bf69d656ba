//! What a cgroup's path says of it: slice, unit, container.
//!
//! | who made it | path |
//! | --- | --- |
//! | systemd | `/system.slice/ssh.service`, `/user.slice/user-1000.slice/session-2.scope` |
//! | Docker | `/system.slice/docker-ID.scope`, `/docker/ID` |
//! | Kubernetes with containerd | `/kubepods.slice/.../cri-containerd-ID.scope`, `/kubepods/burstable/podUID/ID` |
//! | Kubernetes with CRI-O | `/kubepods.slice/.../crio-ID.scope`; `crio-conmon-ID.scope` is its monitor |
//! | Podman | `/machine.slice/libpod-ID.scope`; `libpod-conmon-ID.scope` is its monitor |
//! | nerdctl | `/system.slice/nerdctl-ID.scope` |
//! | LXC | `/lxc/NAME`, `/lxc.payload/NAME`, `/lxc.payload.NAME` |

/// What is said of a cgroup in labels; empty when it is in none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The innermost slice that it is or lies in.
    pub slice: Box<str>,
    /// The innermost service or scope that it is or lies in.
    pub unit: Box<str>,
    /// The innermost container that it is or lies in: the first 12 digits of its id, as tools show it, or LXC's name.
    pub container: Box<str>,
}

/// Runtimes that give a cgroup a name of their own before the id.
const PREFIXES: [&str; 5] = ["docker-", "cri-containerd-", "crio-", "libpod-", "nerdctl-"];
const SHORT_ID: usize = 12;

impl Place {
    pub fn of(path: &str) -> Place {
        let mut place = Place::default();
        let mut parent = "";
        for component in path.split('/').filter(|c| !c.is_empty()) {
            if component.ends_with(".slice") {
                place.slice = component.into();
            } else if component.ends_with(".service") || component.ends_with(".scope") {
                place.unit = component.into();
            }
            if let Some(container) = container(parent, component) {
                place.container = container.into();
            }
            parent = component;
        }
        place
    }
}

/// The container that a cgroup of this name, in one of that name, is.
fn container<'c>(parent: &str, name: &'c str) -> Option<&'c str> {
    if let Some(name) = name.strip_prefix("lxc.payload.") {
        return Some(name);
    }
    if matches!(parent, "lxc" | "lxc.payload") {
        return Some(name);
    }
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let id = PREFIXES.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
    let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id { id.get(..SHORT_ID) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn every_runtimes_names_are_known() {
        let cases = [
            ("/init.scope", ["", "init.scope", ""]),
            ("/system.slice/ssh.service", ["system.slice", "ssh.service", ""]),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/gnome.service",
                ["app.slice", "gnome.service", ""],
            ),
            ("/docker/ID/init", ["", "", "0123456789ab"]),
            ("/system.slice/docker-ID.scope", ["system.slice", "docker-ID.scope", "0123456789ab"]),
            (
                "/kubepods.slice/kubepods-podu.slice/cri-containerd-ID.scope",
                ["kubepods-podu.slice", "cri-containerd-ID.scope", "0123456789ab"],
            ),
            ("/kubepods/besteffort/podu/ID", ["", "", "0123456789ab"]),
            ("/kubepods.slice/crio-ID.scope", ["kubepods.slice", "crio-ID.scope", "0123456789ab"]),
            ("/kubepods.slice/crio-conmon-ID.scope", ["kubepods.slice", "crio-conmon-ID.scope", ""]),
            ("/machine.slice/libpod-ID.scope/container", ["machine.slice", "libpod-ID.scope", "0123456789ab"]),
            ("/machine.slice/libpod-conmon-ID.scope", ["machine.slice", "libpod-conmon-ID.scope", ""]),
            ("/lxc/web/system.slice", ["system.slice", "", "web"]),
            ("/lxc.payload.db", ["", "", "db"]),
            ("/lxc.monitor.db", ["", "", ""]),
        ];
        for (path, expected) in cases {
            let place = Place::of(&path.replace("ID", ID));
            let expected = expected.map(|e| e.replace("ID", ID));
            assert_eq!(
                [&*place.slice, &place.unit, &place.container],
                expected.each_ref().map(String::as_str),
                "{path}"
            );
        }
    }

    #[test]
    fn no_path_makes_it_panic() {
        let paths = ["/kubepods.slice/cri-containerd-ID.scope", "/lxc/web/system.slice/a.service", "/docker/ID/init"];
        Fuzz::of(&paths.map(|path| path.replace("ID", ID))).words(&["lxc.payload.", "libpod-"]).texts(|path| {
            let place = Place::of(path);
            assert!(place.slice.len() + place.unit.len() + place.container.len() <= 3 * path.len());
        });
    }
}
