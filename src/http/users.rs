//! Users and passwords of the web configuration.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::base64;
use crate::yaml::Secret;

/// Successful logins that are remembered.
const REMEMBERED: usize = 64;
/// Checks at a time: each keeps a core busy for a tenth of a second or so.
const CHECKS: usize = 1;
/// Requests that may wait for a check; more are turned away, so that guessing cannot fill the memory.
const WAITING: usize = 32;
/// Of no password: what an unknown user's is checked against, so that the time does not tell who is known.
const NOBODY: &str = "$2b$10$C6UzMDM.H6dfI/f/IKxGhuVuzMQaGGVhTcGgSOnUvaQwMbYpIiEvW";

/// The outcome of a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Login {
    Accepted,
    Refused,
    /// Too many are being checked.
    Busy,
}

/// The users, each with the bcrypt hash of the password.
pub(super) struct Users {
    hashes: BTreeMap<String, Secret>,
    /// Fingerprints of successful logins, so that a check is not paid at each scrape.
    remembered: Mutex<HashSet<u128>>,
    /// The secret keys of the fingerprints.
    keys: [RandomState; 2],
    checks: Semaphore,
    waiting: Semaphore,
}

impl Users {
    pub fn new(hashes: BTreeMap<String, Secret>) -> Users {
        Users {
            hashes,
            remembered: Mutex::default(),
            keys: [RandomState::new(), RandomState::new()],
            checks: Semaphore::new(CHECKS),
            waiting: Semaphore::new(WAITING),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Checks an `Authorization` header.
    pub async fn login(&self, authorization: &str) -> Login {
        let Some((user, password)) = credentials(authorization) else { return Login::Refused };
        let fingerprint = self.fingerprint(&user, &password);
        if self.remembered.lock().unwrap_or_else(PoisonError::into_inner).contains(&fingerprint) {
            return Login::Accepted;
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return Login::Busy };
        let Ok(_check) = self.checks.acquire().await else { return Login::Busy };
        let known = self.hashes.get(&user);
        let hash = known.map_or(NOBODY, |h| h.expose()).to_string();
        let matches = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await;
        if known.is_none() || !matches.unwrap_or(false) {
            return Login::Refused;
        }
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(fingerprint);
        Login::Accepted
    }

    /// 128 bits of a hash keyed with secrets of this process (SipHash, a pseudorandom function): nothing that is kept
    /// or compared lets a password be guessed faster than by logging in.
    fn fingerprint(&self, user: &str, password: &[u8]) -> u128 {
        let [a, b] = &self.keys;
        u128::from(a.hash_one((user, password))) << 64 | u128::from(b.hash_one((user, password)))
    }
}

/// User and password of HTTP's basic scheme.
fn credentials(authorization: &str) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::decode(encoded.trim())?;
    let colon = memchr::memchr(b':', &decoded)?;
    let user = std::str::from_utf8(decoded.get(..colon)?).ok()?.to_string();
    Some((user, decoded.get(colon + 1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fuzz::Fuzz;

    fn users() -> Users {
        let hash = bcrypt::hash("s3cret:with colon", 4).unwrap();
        Users::new(BTreeMap::from([("alice".to_string(), Secret::new(hash))]))
    }

    #[tokio::test]
    async fn the_right_password_is_accepted_and_remembered_and_no_other_is() {
        let users = users();
        // alice:s3cret:with colon
        let right = "Basic YWxpY2U6czNjcmV0OndpdGggY29sb24=";
        for _ in 0..2 {
            assert_eq!(users.login(right).await, Login::Accepted);
            assert_eq!(users.remembered.lock().unwrap().len(), 1);
        }
        // alice:wrong, bob:s3cret:with colon, alice:
        for wrong in [
            "Basic YWxpY2U6d3Jvbmc=",
            "Basic Ym9iOnMzY3JldDp3aXRoIGNvbG9u",
            "basic YWxpY2U6",
            "Basic YWxpY2U=",
            "Bearer x",
            "Basic",
            "",
        ] {
            assert_eq!(users.login(wrong).await, Login::Refused, "{wrong}");
        }
        assert_eq!(users.remembered.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn guessing_in_parallel_is_turned_away() {
        let users = Arc::new(users());
        let _all = users.waiting.acquire_many(WAITING as u32).await.unwrap();
        assert_eq!(users.login("Basic YWxpY2U6d3Jvbmc=").await, Login::Busy);
    }

    #[test]
    fn the_hash_of_nobody_is_one() {
        assert!(bcrypt::verify("", NOBODY).is_ok());
    }

    #[test]
    fn no_header_makes_it_panic() {
        Fuzz::of(&["Basic YWxpY2U6czNjcmV0OndpdGggY29sb24=", "basic YWxpY2U6"]).texts(|header| {
            let _ = credentials(header);
        });
    }
}
