//! A NAT between the proxies: the callee's sidecar sees another address and port of the caller than the caller used.

use super::options::Nat;
use crate::records::{Direction, EnvoyRecord, Role};
use std::collections::HashMap;
use std::sync::Arc;

const FIRST_PORT: usize = 1_024;
const PORTS: usize = 64_000;
const ADDRESSES: usize = 250;

/// Hands out addresses in turn, as a NAT does, so that no two connections have one at the same time.
pub struct AddressRewriter {
    nat: Nat,
    /// What a connection of a proxy, by its id, was given.
    given: HashMap<(Arc<str>, u64), String>,
    next: usize,
}

impl AddressRewriter {
    pub fn new(nat: Nat) -> Self {
        AddressRewriter { nat, given: HashMap::new(), next: 0 }
    }

    /// Whether the line tells another address now.
    pub fn rewrite(&mut self, record: &mut EnvoyRecord, node_id: &Arc<str>) -> bool {
        let within_mesh = record.role == Role::Callee && record.direction == Direction::Inbound;
        let Some(seen) = record.downstream_direct_remote_address.as_mut().filter(|_| within_mesh) else {
            return false;
        };
        match self.nat {
            Nat::None => return false,
            Nat::PerConnection => match self.given.get(&(node_id.clone(), record.connection_id)) {
                Some(known) => seen.clone_from(known),
                None => {
                    *seen = self.another();
                    self.given.insert((node_id.clone(), record.connection_id), seen.clone());
                }
            },
            Nat::PerRequest => *seen = self.another(),
        }
        true
    }

    fn another(&mut self) -> String {
        let (address, port) = (self.next / PORTS % ADDRESSES, self.next % PORTS);
        self.next += 1;
        format!("100.64.0.{}:{}", address + 1, port + FIRST_PORT)
    }
}
