//! The name of a process' group.

use std::borrow::Cow;

use super::events::Exit;
use super::procfs::ProcFs;
use super::table::Process;

#[derive(Default)]
pub(super) struct Namer;

impl Namer {
    pub fn name<'p>(&mut self, p: &'p Process, _procfs: &mut ProcFs) -> Option<Cow<'p, str>> {
        if p.kernel_thread {
            return Some("kthreadd".into());
        }
        Some(String::from_utf8_lossy(p.comm.as_bytes()))
    }

    pub fn name_ended<'e>(&mut self, exit: &'e Exit) -> Option<Cow<'e, str>> {
        Some(String::from_utf8_lossy(exit.comm.as_bytes()))
    }

    pub fn children(&self) -> bool {
        false
    }
}
