//! Where systemd is asked.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::bus::Bus;
use crate::collect::{CollectError, Roots};
use crate::dbus::Address;

/// The host's systemd: on the system bus, or at its own socket.
pub struct Peer {
    /// Of the system bus, in the order in which they are tried.
    pub(super) addresses: Vec<Address>,
    private: Address,
    only_private: bool,
    pub(super) limit: Duration,
}

impl Peer {
    /// `only_private`: at its own socket, which answers root alone; `limit`: for all that is asked over one connection.
    pub fn new(roots: &Roots, only_private: bool, limit: Duration) -> Peer {
        let addresses = match std::env::var_os("DBUS_SYSTEM_BUS_ADDRESS") {
            Some(named) if !named.is_empty() => Address::list(named.as_bytes()),
            _ => vec![Address::Path(roots.root("/run/dbus/system_bus_socket"))],
        };
        let private = Address::Path(roots.root("/run/systemd/private"));
        Peer { addresses, private, only_private, limit }
    }

    pub(super) fn connect(&self) -> Result<Bus, CollectError> {
        if self.only_private {
            return Bus::connect(&self.private, false, self.limit);
        }
        let mut failure = CollectError::Other(
            "DBUS_SYSTEM_BUS_ADDRESS names no address that is known: unix:path=FILE or unix:abstract=NAME".to_string(),
        );
        for address in &self.addresses {
            match Bus::connect(address, true, self.limit) {
                Ok(bus) => return Ok(bus),
                Err(e) => failure = e,
            }
        }
        // The bus may be the part that has died; what is wrong with it is the better thing to say.
        match rustix::process::geteuid().is_root() {
            true => Bus::connect(&self.private, false, self.limit).map_err(|_| failure),
            false => Err(failure),
        }
    }
}
